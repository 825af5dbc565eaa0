// The parameters of each function, and the errors that Chromium throws for invalid arguments. The texts were recorded from
// Chromium 156 (test/arguments.json).

export const INTEGER = { type: 'integer' };
export const STRING = { type: 'string' };
export const BOOLEAN = { type: 'boolean' };
export const BINARY = { type: 'binary' };

const SERVER_PROPERTIES = {
  type: 'sockets.tcpServer.SocketProperties',
  properties: { persistent: BOOLEAN, name: STRING },
};
const TCP_PROPERTIES = {
  type: 'sockets.tcp.SocketProperties',
  // `allowHalfOpen` is beyond Chrome.
  properties: { persistent: BOOLEAN, name: STRING, bufferSize: INTEGER, allowHalfOpen: BOOLEAN },
};
const UDP_PROPERTIES = {
  type: 'sockets.udp.SocketProperties',
  properties: { persistent: BOOLEAN, name: STRING, bufferSize: INTEGER },
};
const DNS_QUERY_TYPES = ['any', 'ipv4', 'ipv6'];
const DNS_QUERY_TYPE = { type: 'sockets.tcp.DnsQueryType', values: DNS_QUERY_TYPES };
const UDP_DNS_QUERY_TYPE = { type: 'sockets.udp.DnsQueryType', values: DNS_QUERY_TYPES };
const SECURE_OPTIONS = {
  type: 'sockets.tcp.SecureOptions',
  properties: {
    tlsVersion: {
      type: 'sockets.tcp.TLSVersionConstraints',
      properties: { min: STRING, max: STRING },
    },
  },
};
/** Beyond Chrome. */
const TLS_OPTIONS = {
  type: 'sockets.tcpServer.TlsOptions',
  // A missing argument must not take the encryption away: only `null` does.
  isNullable: true,
  properties: {
    certificate: { ...STRING, isRequired: true },
    privateKey: { ...STRING, isRequired: true },
    alpn: { type: 'array', items: STRING },
  },
};

export const ID = ['socketId', INTEGER];
export const optional = ([name, spec]) => [name, { ...spec, optional: true }];
export const REQUIRED = 'function callback';
export const OPTIONAL = 'optional function callback';

/** The parameters of each function, and whether its callback is optional. */
const FUNCTIONS = {
  'tcpServer.create': [[optional(['properties', SERVER_PROPERTIES])], OPTIONAL],
  'tcpServer.update': [[ID, ['properties', SERVER_PROPERTIES]], OPTIONAL],
  'tcpServer.setPaused': [[ID, ['paused', BOOLEAN]], OPTIONAL],
  'tcpServer.listen': [[ID, ['address', STRING], ['port', INTEGER], optional(['backlog', INTEGER])], REQUIRED],
  'tcpServer.setTls': [[ID, ['tls', TLS_OPTIONS]], OPTIONAL],
  'tcpServer.disconnect': [[ID], OPTIONAL],
  'tcpServer.close': [[ID], OPTIONAL],
  'tcpServer.getInfo': [[ID], OPTIONAL],
  'tcpServer.getSockets': [[], OPTIONAL],
  'tcp.create': [[optional(['properties', TCP_PROPERTIES])], OPTIONAL],
  'tcp.update': [[ID, ['properties', TCP_PROPERTIES]], OPTIONAL],
  'tcp.setPaused': [[ID, ['paused', BOOLEAN]], OPTIONAL],
  'tcp.setKeepAlive': [[ID, ['enable', BOOLEAN], optional(['delay', INTEGER])], REQUIRED],
  'tcp.setNoDelay': [[ID, ['noDelay', BOOLEAN]], REQUIRED],
  'tcp.connect': [[ID, ['peerAddress', STRING], ['peerPort', INTEGER], optional(['dnsQueryType', DNS_QUERY_TYPE])], REQUIRED],
  'tcp.disconnect': [[ID], OPTIONAL],
  'tcp.secure': [[ID, optional(['options', SECURE_OPTIONS])], REQUIRED],
  'tcp.send': [[ID, ['data', BINARY]], REQUIRED],
  'tcp.close': [[ID], OPTIONAL],
  'tcp.getInfo': [[ID], OPTIONAL],
  'tcp.getSockets': [[], OPTIONAL],
  'udp.create': [[optional(['properties', UDP_PROPERTIES])], OPTIONAL],
  'udp.update': [[ID, ['properties', UDP_PROPERTIES]], OPTIONAL],
  'udp.setPaused': [[ID, ['paused', BOOLEAN]], OPTIONAL],
  'udp.bind': [[ID, ['address', STRING], ['port', INTEGER]], REQUIRED],
  'udp.send': [[ID, ['data', BINARY], ['address', STRING], ['port', INTEGER], optional(['dnsQueryType', UDP_DNS_QUERY_TYPE])], REQUIRED],
  'udp.close': [[ID], OPTIONAL],
  'udp.getInfo': [[ID], OPTIONAL],
  'udp.getSockets': [[], OPTIONAL],
  'udp.joinGroup': [[ID, ['address', STRING]], REQUIRED],
  'udp.leaveGroup': [[ID, ['address', STRING]], REQUIRED],
  'udp.setMulticastTimeToLive': [[ID, ['ttl', INTEGER]], REQUIRED],
  'udp.setMulticastLoopbackMode': [[ID, ['enabled', BOOLEAN]], REQUIRED],
  'udp.getJoinedGroups': [[ID], OPTIONAL],
  'udp.setBroadcast': [[ID, ['enabled', BOOLEAN]], REQUIRED],
  'system.network.getNetworkInterfaces': [[], OPTIONAL],
};

/** The names of all functions with their namespaces. */
export const NAMES = Object.keys(FUNCTIONS);

/**
 * Matches the arguments of a call to its parameters. Returns one value for each parameter, null for a missing one, and the
 * callback.
 * @throws {TypeError} with Chromium's text
 */
export function resolve(name, given) {
  return resolveIn(FUNCTIONS, name.startsWith('system.') ? name : `sockets.${name}`, name, given);
}

/** As `resolve`, for a function of another table. Errors show it as `shown`. */
export function resolveIn(functions, shown, name, given) {
  const [parameters, callback] = functions[name];
  const spec = { type: 'function', optional: callback === OPTIONAL };
  const all = [...parameters, ['callback', spec]];
  const matched = match(all, given);
  const fail = (text) => invocationError(functions[name], shown, text);
  if (!matched) throw fail('No matching signature.');
  const values = parameters.map(([parameter, spec], index) => {
    const value = matched[index];
    if (value === undefined || value === null) return null;
    const [checked, error] = check(spec, value);
    if (error) throw fail(`Error at parameter '${parameter}': ${error}`);
    return checked;
  });
  return { values, callback: matched[parameters.length] };
}

function invocationError([parameters, callback], shown, text) {
  const signature = parameters.map(([parameter, spec]) => `${spec.optional ? 'optional ' : ''}${spec.type} ${parameter}`);
  return new TypeError(`Error in invocation of ${shown}(${[...signature, callback].join(', ')}): ${text}`);
}

/** Assigns arguments to parameters, of which optional ones may be left out. */
function match(parameters, given) {
  if (parameters.length === 0) return given.length === 0 ? [] : null;
  const [[, spec], ...others] = parameters;
  if (given.length > 0) {
    const [value, ...rest] = given;
    const isMissing = value === undefined || (value === null && !spec.isNullable);
    if (isMissing ? spec.optional : mayMatch(spec, value)) {
      const matched = match(others, rest);
      if (matched) return [isMissing ? undefined : value, ...matched];
    }
  }
  if (!spec.optional) return null;
  const matched = match(others, given);
  return matched && [undefined, ...matched];
}

const isInteger = (value) => typeof value === 'number' && (value | 0) === value;

/** Whether a value may be the argument for a parameter. */
function mayMatch(spec, value) {
  if (spec.isNullable && value === null) return true;
  if (spec.items) return Array.isArray(value);
  if (spec.properties) return typeof value === 'object' && value !== null && !Array.isArray(value);
  if (spec.values) return typeof value === 'string';
  switch (spec.type) {
    case 'integer': return isInteger(value);
    case 'binary': return value instanceof ArrayBuffer || ArrayBuffer.isView(value);
    default: return typeof value === spec.type;
  }
}

/** Returns `[copy]` of a value, or `[, error]`. */
function check(spec, value) {
  if (!mayMatch(spec, value)) return [, `Invalid type: expected ${spec.type}, found ${typeName(value)}.`];
  if (spec.type === 'binary') return [copyBytes(value)];
  if (spec.values && !spec.values.includes(value)) return [, `Value must be one of ${spec.values.join(', ')}.`];
  if (spec.items) return checkItems(spec.items, value);
  if (!spec.properties) return [value];
  const copy = {};
  for (const key of Object.keys(value)) {
    const property = spec.properties[key];
    if (!Object.hasOwn(spec.properties, key)) return [, `Unexpected property: '${key}'.`];
    if (value[key] === undefined || value[key] === null) continue;
    const [checked, error] = check(property, value[key]);
    if (error) return [, `Error at property '${key}': ${error}`];
    copy[key] = checked;
  }
  const missing = Object.keys(spec.properties).find((key) => spec.properties[key].isRequired && !(key in copy));
  return missing === undefined ? [copy] : [, `Missing required property '${missing}'.`];
}

function checkItems(spec, values) {
  const copies = [];
  for (const [index, value] of values.entries()) {
    const [checked, error] = check(spec, value);
    if (error) return [, `Error at index ${index}: ${error}`];
    copies.push(checked);
  }
  return [copies];
}

function typeName(value) {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (isInteger(value)) return 'integer';
  return typeof value;
}

function copyBytes(data) {
  // Copying a detached buffer throws.
  if (data.byteLength === 0) return new Uint8Array(0);
  if (data instanceof ArrayBuffer) return new Uint8Array(data.slice(0));
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
}
