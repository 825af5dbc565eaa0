#!/usr/bin/env node
import { run } from './index.mjs';

run(process.argv.slice(2));
