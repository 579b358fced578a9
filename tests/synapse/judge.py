"""Asks Synapse about recorded rooms: event ids, hashes, signatures, authorisation and state resolution.

Reads a JSON list of cases from standard input and writes the list of answers to standard output. Synapse is used as
it is installed, with an event store that is a dictionary; nothing here knows a rule of Matrix but the definitions
of "auth difference" and "conflicted state subgraph", which Synapse leaves to its database.

case:   {"version": "11", "room_id": "!…",
         "events": [{"pdu": {…}, "state": [[type, key, id], …], "kept": bool,
                     "signed": {…}, "server": "…", "key_id": "ed25519:…", "key": "hex digits"}, …],
         "states": [[[type, key, id], …], …]}
        `state` is the room's state before the event, `kept` whether later events may build on it, and `signed` the
        same event with hashes, and a signature of `server` by `key`.
answer: {"events": [{"event_id": "$…", "signed_event_id": "$…", "hash": bool, "signature": bool,
                     "by_auth_events": bool, "by_state": bool}, …],
         "resolved": [[type, key, id], …]}
"""

import json
import sys

from signedjson.key import decode_verify_key_bytes
from signedjson.sign import SignatureVerifyException, verify_signed_json
from synapse.api.errors import AuthError
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS, StateResolutionVersions
from synapse.crypto.event_signing import check_event_content_hash
from synapse.event_auth import check_state_dependent_auth_rules, check_state_independent_auth_rules
from synapse.events import make_event_from_dict
from synapse.events.utils import prune_event
from synapse.state import v1, v2
from synapse.storage.databases.main.event_federation import StateDifference


class Clock:
    async def sleep(self, duration):
        pass


class Store:
    """What Synapse's algorithms ask a database for."""

    def __init__(self):
        self.events = {}

    async def get_events(self, event_ids, *args, **kwargs):
        return {id: self.events[id] for id in event_ids if id in self.events}

    async def get_auth_chain_difference(self, room_id, state_sets, conflicted_state, additional):
        chains = [self.chain(ids) for ids in state_sets]
        difference = set.union(*chains) - set.intersection(*chains)
        subgraph = None if conflicted_state is None else self.subgraph(conflicted_state)
        return StateDifference(difference, subgraph)

    def chain(self, event_ids):
        """The events and all that they rest on."""
        found, waiting = set(), list(event_ids)
        while waiting:
            event_id = waiting.pop()
            if event_id not in found:
                found.add(event_id)
                waiting.extend(self.events[event_id].auth_event_ids())
        return found

    def subgraph(self, conflicted):
        """The events on a path from one conflicted event to another, these included."""
        below = self.chain(conflicted)
        return {id for id in below if self.chain([id]) & set(conflicted)}


def run(coroutine):
    """Runs a coroutine that never waits for anything."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("it waits")


def allows(check):
    try:
        check()
        return True
    except AuthError:
        return False


def has_valid_signature(signed, server, key_id, key):
    try:
        pruned = prune_event(signed).get_pdu_json()
        verify_signed_json(pruned, server, decode_verify_key_bytes(key_id, bytes.fromhex(key)))
        return True
    except SignatureVerifyException:
        return False


def judge_event(version, store, case):
    event = make_event_from_dict(case["pdu"], room_version=version)
    signed = make_event_from_dict(case["signed"], room_version=version)
    listed = [store.events[id] for id in event.auth_event_ids()]
    state = [store.events[id] for _, _, id in case["state"]]
    independent = allows(lambda: run(check_state_independent_auth_rules(store, event)))
    return event, {
        "event_id": event.event_id,
        "signed_event_id": signed.event_id,
        "hash": check_event_content_hash(signed),
        "signature": has_valid_signature(signed, case["server"], case["key_id"], case["key"]),
        "by_auth_events": independent and allows(lambda: check_state_dependent_auth_rules(event, listed)),
        "by_state": allows(lambda: check_state_dependent_auth_rules(event, state)),
    }


def resolve(version, room_id, store, states):
    maps = [{(kind, key): id for kind, key, id in state} for state in states]
    if version.state_res == StateResolutionVersions.V1:
        return run(v1.resolve_events_with_store(room_id, version, maps, None, store.get_events))
    return run(v2.resolve_events_with_store(Clock(), room_id, version, maps, None, store))


def judge(case):
    version = KNOWN_ROOM_VERSIONS[case["version"]]
    store = Store()
    answers = []
    for recorded in case["events"]:
        event, answer = judge_event(version, store, recorded)
        answers.append(answer)
        if recorded["kept"]:
            store.events[event.event_id] = event
    resolved = resolve(version, case["room_id"], store, case["states"])
    return {"events": answers, "resolved": sorted([kind, key, id] for (kind, key), id in resolved.items())}


json.dump([judge(case) for case in json.load(sys.stdin)], sys.stdout)
