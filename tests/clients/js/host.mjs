// Runs scenarios on demand: one JSON object a line on stdin, one answer a line on stdout.
//
//   {"run": "messages", "args": {...}}  ->  {"ok": true, "value": ...} | {"ok": false, "error": "stack"}
//
// The clients live as long as this process, so that they can sync through a restart
// of the server. It ends when stdin does.

import { Console } from "node:console";
import { createInterface } from "node:readline";

// stdout belongs to the protocol; the SDK logs to stderr.
globalThis.console = new Console(process.stderr, process.stderr);

const { World } = await import("./world.mjs");
const scenarios = Object.assign(
    {},
    await import("./scenarios/chat.mjs"),
    await import("./scenarios/reading.mjs"),
    await import("./scenarios/account.mjs"),
    await import("./scenarios/restart.mjs"),
    await import("./scenarios/cross.mjs"),
    await import("./scenarios/encryption.mjs"),
    await import("./scenarios/verification.mjs"),
);

const world = new World(process.argv.slice(2));

async function answer({ run, args = {} }) {
    try {
        if (!Object.hasOwn(scenarios, run)) throw new Error(`no scenario named ${run}`);
        return { ok: true, value: (await scenarios[run](world, args)) ?? null };
    } catch (error) {
        return { ok: false, error: String(error?.stack ?? error) };
    }
}

for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
world.close();
process.exit(0);
