// Takes and releases data folders as a parent process orders it, for the test of their lock.
import { DataFolder } from '../dist/data-folder.js';

let folder;
process.on('message', ({ take, release }) => {
  if (release) {
    folder?.release();
    folder = undefined;
    process.send({});
    return;
  }
  try {
    folder = DataFolder.take(take, false);
    process.send({ pid: process.pid, taken: true });
  } catch (error) {
    process.send({ pid: process.pid, taken: false, message: error.message });
  }
});
process.send({ pid: process.pid, taken: false });
