<?php
// Notes that everybody may read and add. `data` is a link to /srv/app/shared/data.
$file = __DIR__ . '/../data/notes.txt';
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    file_put_contents($file, $_POST['text'] . "\n", FILE_APPEND | LOCK_EX);
}
$notes = is_file($file) ? file($file, FILE_IGNORE_NEW_LINES) : [];
$revision = file_get_contents(__DIR__ . '/../revision');
header('Content-Type: application/json');
echo json_encode(['revision' => $revision, 'count' => count($notes), 'notes' => $notes]), "\n";
