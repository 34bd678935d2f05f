// The story of the clients, told by node-redis.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { createClient, RESP_TYPES, WatchError } from 'redis';

const { HOST, PORT, RESTART } = process.env;
const open = async () => {
  const c = createClient({ RESP: 3, socket: { host: HOST, port: Number(PORT), reconnectStrategy: () => 50 } });
  c.on('error', () => {}); // that a connection breaks is part of the story
  return c.connect();
};
const r = await open();
await r.flushAll();
assert.equal(await r.ping(), 'PONG');
assert.equal((await r.hello(3)).proto, 3);

// A pipeline: what is asked for in one turn of the loop.
const asked = [];
for (let i = 0; i < 1000; i++) asked.push(r.set(`p:${i}`, String(i)), r.incr(`p:${i}`));
assert.deepEqual(await Promise.all(asked), Array.from({ length: 2000 }, (_, n) => (n % 2 ? (n + 1) / 2 : 'OK')));

// A transaction whose watched key changes is not done; one whose key does not, is.
await r.set('a', '1');
const other = await open();
await r.watch('a');
await other.set('a', '5');
await assert.rejects(r.multi().set('a', '2').exec(), WatchError);
assert.equal(await r.get('a'), '5');
await r.watch('a');
assert.deepEqual(await r.multi().incr('a').get('a').exec(), [6, '6']);

// SCAN finds each of 100 000 keys.
const want = new Set(Array.from({ length: 100_000 }, (_, i) => `key:${i}`));
const all = [...want];
for (let at = 0; at < all.length; at += 10_000) await r.mSet(all.slice(at, at + 10_000).map((k) => [k, k.slice(4)]));
const found = new Set();
for await (const keys of r.scanIterator({ MATCH: 'key:*', COUNT: 1000 })) for (const k of [keys].flat()) found.add(k);
assert.equal(found.size, want.size);
for (const k of found) assert(want.has(k), k);

// Bytes of all kinds, as keys too.
const every = Buffer.concat(Array(400).fill(Buffer.from(Array.from({ length: 256 }, (_, i) => i))));
const key = every.subarray(0, 256);
await r.set(key, every);
assert(every.equals(await r.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }).get(key)));

// Expiry.
await r.set('short', 'x', { expiration: { type: 'PX', value: 50 } });
for (const until = Date.now() + 20_000; await r.exists('short'); ) assert(Date.now() < until, 'a key does not expire');
await r.set('long', 'x', { expiration: { type: 'EX', value: 100 } });
assert((await r.ttl('long')) > 90);
assert.equal(await r.persist('long'), 1);
assert.equal(await r.set('long', 'y', { condition: 'NX' }), null);
await assert.rejects(r.incr('long'), /integer/);

// The server goes away and comes back, with all that was written.
const [restart, ...args] = RESTART.split(' ');
await promisify(execFile)(restart, args);
assert.equal(await r.get('a'), '6');
for (const until = Date.now() + 20_000; (await r.dbSize()) !== 100_000 + 1000 + 3; ) assert(Date.now() < until, 'another number of keys'); // an expired one may be counted for a second
for (const c of [r, other]) c.destroy();
console.log(`${createRequire(import.meta.url)('redis/package.json').version}, RESP3: the story`);
