#!/usr/bin/env node
// The program `chrome-sockets`, as `npx chrome-sockets`.

import { run } from 'chrome-sockets-host';

run(process.argv.slice(2));
