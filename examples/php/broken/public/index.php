<?php
// A function of a file that nobody has included.
echo json_encode(read_notes());
