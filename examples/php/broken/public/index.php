<?php
// This version calls a function that no file defines.
echo json_encode(read_notes());
