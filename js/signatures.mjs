// The arguments that each function takes, and the errors that Chromium throws
// for others: the texts were recorded from Chromium 156 (test/arguments.json).

const INTEGER = { type: 'integer' };
const STRING = { type: 'string' };
const BOOLEAN = { type: 'boolean' };
const BINARY = { type: 'binary' };

const SERVER_PROPERTIES = {
  type: 'sockets.tcpServer.SocketProperties',
  properties: { persistent: BOOLEAN, name: STRING },
};
const TCP_PROPERTIES = {
  type: 'sockets.tcp.SocketProperties',
  properties: { persistent: BOOLEAN, name: STRING, bufferSize: INTEGER },
};
const DNS_QUERY_TYPE = { type: 'sockets.tcp.DnsQueryType', values: ['any', 'ipv4', 'ipv6'] };
const SECURE_OPTIONS = {
  type: 'sockets.tcp.SecureOptions',
  properties: {
    tlsVersion: {
      type: 'sockets.tcp.TLSVersionConstraints',
      properties: { min: STRING, max: STRING },
    },
  },
};

const ID = ['socketId', INTEGER];
const optional = ([name, spec]) => [name, { ...spec, optional: true }];
const NEEDED = 'function callback';
const FREE = 'optional function callback';

/** Of each function: its parameters, and whether its callback may be left out. */
const FUNCTIONS = {
  'tcpServer.create': [[optional(['properties', SERVER_PROPERTIES])], FREE],
  'tcpServer.update': [[ID, ['properties', SERVER_PROPERTIES]], FREE],
  'tcpServer.setPaused': [[ID, ['paused', BOOLEAN]], FREE],
  'tcpServer.listen': [[ID, ['address', STRING], ['port', INTEGER], optional(['backlog', INTEGER])], NEEDED],
  'tcpServer.disconnect': [[ID], FREE],
  'tcpServer.close': [[ID], FREE],
  'tcpServer.getInfo': [[ID], FREE],
  'tcpServer.getSockets': [[], FREE],
  'tcp.create': [[optional(['properties', TCP_PROPERTIES])], FREE],
  'tcp.update': [[ID, ['properties', TCP_PROPERTIES]], FREE],
  'tcp.setPaused': [[ID, ['paused', BOOLEAN]], FREE],
  'tcp.setKeepAlive': [[ID, ['enable', BOOLEAN], optional(['delay', INTEGER])], NEEDED],
  'tcp.setNoDelay': [[ID, ['noDelay', BOOLEAN]], NEEDED],
  'tcp.connect': [[ID, ['peerAddress', STRING], ['peerPort', INTEGER], optional(['dnsQueryType', DNS_QUERY_TYPE])], NEEDED],
  'tcp.disconnect': [[ID], FREE],
  'tcp.secure': [[ID, optional(['options', SECURE_OPTIONS])], NEEDED],
  'tcp.send': [[ID, ['data', BINARY]], NEEDED],
  'tcp.close': [[ID], FREE],
  'tcp.getInfo': [[ID], FREE],
  'tcp.getSockets': [[], FREE],
};

/** The names of all functions, each with its namespace. */
export const NAMES = Object.keys(FUNCTIONS);

/**
 * The arguments of a call, one for each parameter, and its callback, if there is one.
 * @throws {TypeError} with Chromium's text
 */
export function resolve(name, given) {
  const [parameters, callback] = FUNCTIONS[name];
  const spec = { type: 'function', optional: callback === FREE };
  const all = [...parameters, ['callback', spec]];
  const matched = match(all, given);
  if (!matched) throw wrong(name, 'No matching signature.');
  const values = parameters.map(([parameter, spec], index) => {
    const value = matched[index];
    if (value === undefined) return null;
    const [checked, error] = check(spec, value);
    if (error) throw wrong(name, `Error at parameter '${parameter}': ${error}`);
    return checked;
  });
  return { values, callback: matched[parameters.length] };
}

function wrong(name, text) {
  const [parameters, callback] = FUNCTIONS[name];
  const shown = parameters.map(([parameter, spec]) => `${spec.optional ? 'optional ' : ''}${spec.type} ${parameter}`);
  return new TypeError(`Error in invocation of sockets.${name}(${[...shown, callback].join(', ')}): ${text}`);
}

/** Which argument is for which parameter; optional ones may be left out. */
function match(parameters, given) {
  if (parameters.length === 0) return given.length === 0 ? [] : null;
  const [[, spec], ...others] = parameters;
  if (given.length > 0) {
    const [value, ...rest] = given;
    const isNothing = value === null || value === undefined;
    if (isNothing ? spec.optional : isA(spec, value)) {
      const matched = match(others, rest);
      if (matched) return [isNothing ? undefined : value, ...matched];
    }
  }
  if (!spec.optional) return null;
  const matched = match(others, given);
  return matched && [undefined, ...matched];
}

const isInteger = (value) => typeof value === 'number' && (value | 0) === value;

/** Whether a value may be meant for a parameter. */
function isA(spec, value) {
  if (spec.properties) return typeof value === 'object' && value !== null && !Array.isArray(value);
  if (spec.values) return typeof value === 'string';
  switch (spec.type) {
    case 'integer': return isInteger(value);
    case 'binary': return value instanceof ArrayBuffer || ArrayBuffer.isView(value);
    default: return typeof value === spec.type;
  }
}

/** A copy of a value as it is now, or what is wrong with it. */
function check(spec, value) {
  if (!isA(spec, value)) return [, `Invalid type: expected ${spec.type}, found ${typeName(value)}.`];
  if (spec.type === 'binary') return [copied(value)];
  if (spec.values && !spec.values.includes(value)) return [, `Value must be one of ${spec.values.join(', ')}.`];
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
  return [copy];
}

function typeName(value) {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (isInteger(value)) return 'integer';
  return typeof value;
}

function copied(data) {
  // Of a detached buffer nothing can be copied.
  if (data.byteLength === 0) return new Uint8Array(0);
  if (data instanceof ArrayBuffer) return new Uint8Array(data.slice(0));
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
}
