// examples/mdns_browser without a network: messages, also hostile ones, and the cache.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Cache, lineOf } from '../../examples/mdns_browser/browser.mjs';
import { MalformedError, TYPE, parse, query } from '../../examples/mdns_browser/dns.mjs';

const short = (value) => [(value >> 8) & 0xff, value & 0xff];
const long = (value) => [...short(value >>> 16), ...short(value & 0xffff)];
const label = (text) => [Buffer.byteLength(text), ...Buffer.from(text)];
const named = (text) => [...text.split('.').flatMap(label), 0];
const record = (name, type, data, { ttl = 120, kind = 1, length = data.length } = {}) => [...name, ...short(type), ...short(kind), ...long(ttl), ...short(length), ...data];
const message = (records, { flags = 0x8400, questions = 0, answers = records.length } = {}) => new Uint8Array([
  0, 0, ...short(flags), ...short(questions), ...short(answers), 0, 0, 0, 0, ...records.flat(),
]);

test('a query', () => {
  const made = query([[['_http', '_tcp', 'local'], TYPE.PTR], [['a'], TYPE.AAAA]], true);
  assert.deepEqual([...made], [0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, ...named('_http._tcp.local'), 0, 12, 0x80, 1, 1, 97, 0, 0, 28, 0x80, 1]);
  assert.deepEqual(parse(made), { isResponse: false, records: [] });
  for (const wrong of ['', 'x'.repeat(64)]) assert.throws(() => query([[[wrong], 1]]), RangeError);
});

test('records of each type, with compressed names', () => {
  // The first name is at 12: `_http._tcp.local`, with `local` at 23.
  const records = [
    record(named('_http._tcp.local'), TYPE.PTR, [...label('My Site'), 0xc0, 12]),
    record([...label('My Site'), 0xc0, 12], TYPE.SRV, [0, 1, 0, 2, 31, 144, ...label('host'), 0xc0, 23], { kind: 0x8001 }),
    record([...label('My Site'), 0xc0, 12], TYPE.TXT, [...label('path=/'), ...label('flag'), 0]),
    record(named('host.local'), TYPE.A, [192, 0, 2, 1], { ttl: 4_000_000_000 }),
    record(named('host.local'), TYPE.AAAA, [0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), 1]),
    record(named('host.local'), 47, [1, 2, 3]),
    record(named('host.local'), TYPE.A, [192, 0, 2, 2], { kind: 3 }),
  ];
  const { isResponse, records: read } = parse(message(records));
  assert.ok(isResponse);
  assert.deepEqual(read.map(({ name, type, isFlush }) => [name.join('.'), type, isFlush]), [
    ['_http._tcp.local', 12, false], ['My Site._http._tcp.local', 33, true], ['My Site._http._tcp.local', 16, false], ['host.local', 1, false], ['host.local', 28, false],
  ]);
  assert.deepEqual(read[0].data, ['My Site', '_http', '_tcp', 'local']);
  assert.deepEqual(read[1].data, { priority: 1, weight: 2, port: 8080, target: ['host', 'local'] });
  assert.deepEqual(read[2].data.map((text) => Buffer.from(text).toString()), ['path=/', 'flag', '']);
  assert.deepEqual([read[3].data, read[3].ttl, read[4].data], ['192.0.2.1', 4_000_000_000, '2001:db8::1']);
});

test('addresses as RFC 5952 writes them', () => {
  const address = (...words) => parse(message([record([0], TYPE.AAAA, words.flatMap(short))])).records[0].data;
  assert.equal(address(0, 0, 0, 0, 0, 0, 0, 0), '::');
  assert.equal(address(0, 0, 0, 0, 0, 0, 0, 1), '::1');
  assert.equal(address(0xfe80, 0, 0, 0, 0, 0, 0, 0), 'fe80::');
  assert.equal(address(0x10, 0, 0, 1, 0, 0, 0, 2), '10:0:0:1::2');
  assert.equal(address(1, 0, 0, 1, 0, 0, 1, 0), '1::1:0:0:1:0');
  assert.equal(address(1, 0, 3, 4, 5, 6, 7, 8), '1:0:3:4:5:6:7:8');
});

test('hostile messages are refused', () => {
  const target = (data, more) => message([record(named('x'), TYPE.PTR, data, more)]);
  for (const [what, bytes] of [
    ['nothing', new Uint8Array(0)],
    ['half a header', new Uint8Array(11)],
    ['a pointer to itself', target([0xc0, 12 + 3 + 10])],
    ['a pointer forward', target([0xc0, 12 + 3 + 11, 0])],
    ['a pointer into the header', target([0xc0, 2])],
    ['a pointer behind the message', target([0xff, 0xff])],
    ['two pointers to each other', message([record([0xc0, 12 + 2 + 10], TYPE.PTR, [0xc0, 12])])],
    ['a name with a pointer to itself', message([record([1, 97, 0xc0, 12], TYPE.PTR, [0])])],
    ['half a pointer', target([0xc0])],
    ['a label of the future', target([0x80, 1, 0])],
    ['a label that is longer than its record', target([5, 97, 0])],
    ['a name without an end', target([1, 97])],
    ['a record that is longer than the message', target([0], { length: 2000 })],
    ['a record that is longer than its data', target([0, 9, 9])],
    ['a record that is shorter than its data', message([record(named('x'), TYPE.A, [1, 2, 3])])],
    ['an address that is too long', message([record(named('x'), TYPE.A, [1, 2, 3, 4, 5])])],
    ['an SRV without a target', message([record(named('x'), TYPE.SRV, [0, 0, 0, 0, 0, 1])])],
    ['a text that is longer than its record', message([record(named('x'), TYPE.TXT, [9, 97])])],
    ['more records than there are', message([record(named('x'), TYPE.A, [1, 2, 3, 4])], { answers: 65_535 })],
    ['more questions than there are', message([], { questions: 65_535 })],
    ['a name of more than 255 bytes', target([...Array(5).fill(label('x'.repeat(60))).flat(), 0])],
    ['a name of more than 255 bytes by pointers', (() => {
      const first = Array(4).fill(label('x'.repeat(50))).flat();
      return message([record([...first, 0], TYPE.PTR, [...label('y'.repeat(60)), 0xc0, 12])]);
    })()],
  ]) {
    assert.throws(() => parse(bytes), MalformedError, what);
  }
});

test('a message costs no more than its length allows', () => {
  // 9,000 bytes of pointers: each leads to the one before, and each record has the last.
  const chain = Array.from({ length: 2000 }, (_, index) => [0xc0 | ((12 + 11 + 2 * index - 2) >> 8), (12 + 11 + 2 * index - 2) & 0xff]).flat();
  chain.splice(0, 2, 1, 97);
  const start = performance.now();
  for (let count = 0; count < 200; count += 1) {
    try {
      parse(message([record([0], 99, chain), ...Array(1000).fill(record([0xc0 | ((12 + 11 + 3998) >> 8), (12 + 11 + 3998) & 0xff], TYPE.A, [1, 2, 3, 4]))]));
    } catch (error) {
      assert.ok(error instanceof MalformedError);
    }
  }
  assert.ok(performance.now() - start < 20_000);
  const many = message(Array(600).fill(record([0], TYPE.A, [1, 2, 3, 4])));
  assert.equal(parse(many).records.length, 512);
});

test('whatever a message is changed to, it is read or refused', () => {
  const whole = message([
    record(named('_http._tcp.local'), TYPE.PTR, [...label('My Site'), 0xc0, 12]),
    record([...label('My Site'), 0xc0, 12], TYPE.SRV, [0, 1, 0, 2, 31, 144, ...label('host'), 0xc0, 23]),
    record([...label('My Site'), 0xc0, 12], TYPE.TXT, [...label('path=/'), ...label('flag'), 0]),
    record(named('host.local'), TYPE.AAAA, Array(16).fill(7)),
  ]);
  // A generator with a seed, so that a failure can be repeated.
  let seed = 12345;
  const random = (below) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  let refused = 0;
  const rounds = 30_000;
  for (let round = 0; round < rounds; round += 1) {
    const changed = whole.slice(0, random(10) === 0 ? random(whole.length) : whole.length);
    for (let count = random(6); count >= 0; count -= 1) changed[random(changed.length)] = random(256);
    const cache = new Cache(() => 0);
    try {
      const { records } = parse(changed);
      for (const one of records) {
        assert.ok(one.name.length <= 127);
        cache.add(one);
      }
      cache.services().map(lineOf);
      cache.questions();
    } catch (error) {
      assert.ok(error instanceof MalformedError, `round ${round}: ${error.stack}`);
      refused += 1;
    }
  }
  assert.ok(refused > rounds / 10 && refused < rounds, `${refused}`);
});

const TYPE_NAME = ['_http', '_tcp', 'local'];
const INSTANCE = ['My Site', ...TYPE_NAME];

/** A cache with a service, and its clock. */
function filled() {
  const clock = { time: 1_000_000 };
  const cache = new Cache(() => clock.time);
  const add = (name, type, data, more = {}) => cache.add({ name, type, ttl: 120, isFlush: false, data, ...more });
  add(['_services', '_dns-sd', '_udp', 'local'], TYPE.PTR, TYPE_NAME);
  add(TYPE_NAME, TYPE.PTR, INSTANCE);
  add(INSTANCE, TYPE.SRV, { priority: 0, weight: 0, port: 80, target: ['Host', 'local'] });
  add(INSTANCE, TYPE.TXT, ['path=/a=b', 'flag', 'PATH=other', '=nothing', ''].map((text) => Buffer.from(text)));
  add(['host', 'LOCAL'], TYPE.A, '192.0.2.1');
  return { clock, cache, add };
}

test('services come of records, whatever their case', () => {
  const { cache } = filled();
  const [service, ...others] = cache.services();
  assert.equal(others.length, 0);
  assert.deepEqual({ ...service, txt: { ...service.txt } }, {
    name: 'My Site', type: '_http._tcp.local', host: 'Host.local', port: 80, addresses: ['192.0.2.1'], txt: { path: '/a=b', flag: true },
  });
  assert.deepEqual(cache.questions().map(([name, type]) => `${name.join('.')} ${type}`), [
    '_services._dns-sd._udp.local 12', '_http._tcp.local 12', 'My Site._http._tcp.local 33', 'My Site._http._tcp.local 16', 'Host.local 1', 'Host.local 28',
  ]);
});

test('records expire, say goodbye and are replaced', () => {
  const { cache, add, clock } = filled();
  // Goodbye: it stays for a second.
  add(['host', 'local'], TYPE.A, '192.0.2.1', { ttl: 0 });
  assert.equal(cache.services()[0].addresses.length, 1);
  clock.time += 1001;
  assert.deepEqual(cache.services()[0].addresses, []);
  // A new port replaces the old one, a second later.
  clock.time += 1001;
  add(INSTANCE, TYPE.SRV, { priority: 0, weight: 0, port: 81, target: ['host', 'local'] }, { isFlush: true });
  clock.time += 1001;
  assert.equal(cache.services()[0].port, 81);
  assert.ok(cache.nextExpiry() > clock.time);
  clock.time += 120_001;
  assert.deepEqual(cache.services(), []);
  assert.equal(cache.nextExpiry(), undefined);
  // A record for years is kept for at most 75 minutes.
  add(['x'], TYPE.A, '192.0.2.9', { ttl: 4_000_000_000 });
  assert.equal(cache.nextExpiry(), clock.time + 75 * 60_000);
});

test('a hostile network cannot make it keep or ask without bound', () => {
  const { cache, add } = filled();
  for (let count = 0; count < 20_000; count += 1) add(TYPE_NAME, TYPE.PTR, [`instance ${count}`, ...TYPE_NAME]);
  assert.equal(cache.questions().length, 512);
  add(['host', 'local'], TYPE.A, '192.0.2.200');
  assert.deepEqual(cache.services()[0].addresses, ['192.0.2.1'], 'there is no room');
  // Names that are no instances of their type are not asked for.
  const other = filled();
  for (const data of [['host', 'local'], TYPE_NAME, ['a', 'b', ...TYPE_NAME], []]) other.add(TYPE_NAME, TYPE.PTR, data);
  other.add(['_services', '_dns-sd', '_udp', 'local'], TYPE.PTR, ['www', 'example']);
  assert.equal(other.cache.questions().length, 6);
});

test('lines have no characters that a terminal obeys', () => {
  const txt = Object.assign(Object.create(null), { ['__proto__']: 'x', key: '\u001b[2Jtext', flag: true });
  assert.equal(lineOf({ name: 'a\u001b]0;x\u0007\u202eb\r\n', type: 't', host: 'h', port: 1, addresses: ['192.0.2.1'], txt }), 'a\ufffd]0;x\ufffd\ufffdb\ufffd\ufffd  t  h:1  192.0.2.1  __proto__=x key=\ufffd[2Jtext flag');
});
