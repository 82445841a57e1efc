// qmp.cjs - drives a QMP server with npm's qemu-qmp or node-qemu, unmodified.
//
// Usage: node qmp.cjs qemu-qmp|node-qemu SOCKET. Ends with 0 and "done" when
// everything was as expected.
'use strict';
const [, , library, path] = process.argv;

// Both, as one function: execute(command, arguments) -> promise.
async function open() {
	if (library === 'node-qemu') {
		const { QMPClient } = require('node-qemu');
		const client = new QMPClient({ socketPath: path });
		await client.connect();
		return {
			execute: (c, a) => client.execute(c, a),
			close: () => client.close(),
		};
	}
	const QMP = require('qemu-qmp');
	const client = new QMP();
	await new Promise((ok, bad) =>
		client.connect(path, (e) => (e ? bad(e) : ok())));
	return {
		execute: (c, a) => new Promise((ok, bad) =>
			client.execute(c, a || {}, (e, v) => (e ? bad(e) : ok(v)))),
		close: () => client.end(),
	};
}

async function main() {
	const q = await open();
	const version = await q.execute('query-version');
	console.log('version', version.qemu.major, version.qemu.minor);
	await q.execute('netdev_add', { type: 'hubport', id: 'npm', hubid: 5 });
	const wrong = await q.execute('netdev_del', { id: 'nosuch' }).then(
		() => 'no error', (e) => e.message);
	if (!wrong.includes("Device 'nosuch' not found"))
		throw new Error(wrong);
	await q.execute('netdev_del', { id: 'npm' });
	await q.close();
	console.log('done');
}

main().catch((e) => {
	console.error(e);
	process.exit(1);
});
