import '../../extension.mjs';
import net from 'chrome-net';

import { serve } from './chrome-net-web.mjs';

globalThis.serve = (port) => serve(net, port);
