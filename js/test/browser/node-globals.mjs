// The globals of Node.js modules.

export { Buffer } from 'buffer/';
export { default as process } from 'process/browser';
