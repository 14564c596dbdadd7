// Interactive verification of devices, both sides of it in this process: the messages go over the server.

import assert from "node:assert/strict";

import { CryptoEvent, VerificationPhase } from "matrix-js-sdk/lib/crypto-api/index.js";

import { until } from "./user.mjs";

const SAS = "m.sas.v1";

/** The next request for verification that reaches a device: `(await next)()` waits for it. */
export function nextRequest(device) {
    let received;
    device.client.once(CryptoEvent.VerificationRequestReceived, (request) => {
        received = request;
    });
    return () => until(`a request reaches ${device.id} ${device.deviceId}`, () => received);
}

/** Compares emoji on both sides, and finds them the same. */
export async function compareEmoji(request, other) {
    await accept(request, other);
    const verifiers = [await request.startVerification(SAS), await verifierOf(other)];
    const done = Promise.all(verifiers.map((verifier) => verifier.verify()));
    const shown = await Promise.all(verifiers.map(shownBy));
    const [here, there] = shown.map(({ sas }) => sas.emoji);
    assert.equal(here.length, 7);
    assert.deepEqual(here, there);
    await Promise.all(shown.map((callbacks) => callbacks.confirm()));
    await done;
    await finished(request, other);
}

/** `request`'s side scans what `other` shows. */
export async function scanCode(request, other) {
    await accept(request, other);
    const code = await other.generateQRCode();
    const scanner = await request.scanQRCode(code);
    const shower = await verifierOf(other);
    const done = Promise.all([scanner.verify(), shower.verify()]);
    const scanned = () => shower.getReciprocateQrCodeCallbacks();
    (await until("the code was scanned", scanned)).confirm();
    await done;
    await finished(request, other);
}

async function accept(request, other) {
    await other.accept();
    await until("both are ready", () => request.phase === VerificationPhase.Ready);
}

const verifierOf = (request) => until("the other side began", () => request.verifier);

const shownBy = (verifier) => until("emoji are shown", () => verifier.getShowSasCallbacks());

const finished = (...requests) =>
    until("both are done", () => requests.every(({ phase }) => phase === VerificationPhase.Done));
