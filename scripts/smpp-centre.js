// A message centre that is none of ours, to hold the SMPP provider against: built on npm's `smpp` (a codec and server of
// its own). Not part of any test; see docs/providers/smpp.md.
//
//   node smpp-centre.js PORT CONTROL_PORT '{"submit":"dec","receipt":"hex","throttle":50,"cut":[300]}'
//
// submit, receipt: how ids are written, "dec" or "hex"; tlv: receipts carry their parameters too; throttle: at most so
// many submissions a second are taken; cut: the link is destroyed at these submissions, after they were recorded.
// GET / on the control port returns what was recorded, as JSON. What is not taken by the client is sent again.
const http = require('http');
const smpp = require('smpp');

const [port, control, options] = [+process.argv[2], +process.argv[3], JSON.parse(process.argv[4] || '{}')];
const write = { dec: (id) => String(id), hex: (id) => id.toString(16).toUpperCase().padStart(10, '0') };
const state = { binds: 0, unbinds: 0, most: 0, throttled: 0, cuts: 0, receipts: 0, refused: 0, enquiries: 0, taken: [] };
const mail = [];
let number = 1500000000;
let seen = 0;
let second = [0, 0];
let current = null;

function textOf(pdu) {
  const sar = pdu.sar_total_segments ? [pdu.sar_msg_ref_num, pdu.sar_total_segments, pdu.sar_segment_seqnum] : null;
  if (pdu.message_payload && pdu.message_payload.message !== undefined) return { text: pdu.message_payload.message, part: null };
  const header = pdu.short_message.udh && pdu.short_message.udh[0];
  if (!header) return { text: pdu.short_message.message, part: sar };
  const bytes = [...header];
  const part = bytes[0] === 0 ? bytes.slice(2) : [bytes[2] * 256 + bytes[3], bytes[4], bytes[5]];
  return { text: pdu.short_message.message, part };
}

function pump() {
  const session = current;
  while (session && session.unanswered < 10 && mail.length > 0 && mail[0].due <= Date.now()) {
    const letter = mail.shift();
    session.unanswered += 1;
    session.open.add(letter);
    session.deliver_sm(letter.pdu, (resp) => {
      session.unanswered -= 1;
      session.open.delete(letter);
      if (resp.command_status === 0) state.receipts += 1;
      else {
        state.refused += 1;
        mail.push({ ...letter, due: Date.now() + 200 });
      }
      pump();
    });
  }
}
setInterval(pump, 10);

smpp.createServer((session) => {
  let pending = 0;
  session.unanswered = 0;
  session.open = new Set();
  session.on('error', () => {});
  session.on('close', () => {
    for (const letter of session.open) mail.push(letter);
    if (current === session) current = null;
  });
  session.on('bind_transceiver', (pdu) => {
    const right = pdu.system_id === 'ecar' && pdu.password === 'pa55-x7q';
    session.send(pdu.response({ command_status: right ? 0 : smpp.ESME_RINVPASWD, system_id: 'node' }));
    if (right) {
      state.binds += 1;
      current = session;
    } else session.close();
  });
  session.on('enquire_link', (pdu) => {
    state.enquiries += 1;
    session.send(pdu.response());
  });
  session.on('unbind', (pdu) => {
    state.unbinds += 1;
    session.send(pdu.response());
    session.close();
  });
  session.on('submit_sm', (pdu) => {
    const now = Math.floor(Date.now() / 1000);
    if (second[0] !== now) second = [now, 0];
    if (options.throttle && second[1] >= options.throttle) {
      state.throttled += 1;
      return session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED }));
    }
    second[1] += 1;
    seen += 1;
    number += 1;
    const id = number;
    const { text, part } = textOf(pdu);
    state.taken.push({ to: pdu.destination_addr, from: pdu.source_addr, kind: [pdu.source_addr_ton, pdu.source_addr_npi, pdu.dest_addr_ton, pdu.dest_addr_npi], coding: pdu.data_coding, wants: pdu.registered_delivery, text, part });
    const written = write[options.receipt || 'dec'](id);
    const receipt = {
      source_addr_ton: 1, source_addr_npi: 1, source_addr: pdu.destination_addr, destination_addr: pdu.source_addr,
      esm_class: 4,
      short_message: `id:${written} sub:001 dlvrd:001 submit date:2611261200 done date:2611261201 stat:DELIVRD err:000 text:`,
    };
    if (options.tlv) Object.assign(receipt, { receipted_message_id: written, message_state: 2 });
    mail.push({ due: Date.now() + 50, pdu: receipt });
    if ((options.cut || []).includes(seen)) {
      state.cuts += 1;
      return session.destroy();
    }
    pending += 1;
    state.most = Math.max(state.most, pending);
    setTimeout(() => {
      pending -= 1;
      session.send(pdu.response({ message_id: write[options.submit || 'dec'](id) }));
    }, 2);
  });
}).listen(port, '127.0.0.1');

http.createServer((_, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ ...state, waiting: mail.length }));
}).listen(control, '127.0.0.1');
