// What programs for Node find in every file.

export { Buffer } from 'buffer/';
export { default as process } from 'process/browser';
