"""The phases of a message by its trace: what each of its steps took, and what lay between them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tests.collector import Seen


def phases_ms(spans: Sequence[Seen], *, since_s: float, until_s: float = float("inf")) -> Mapping[str, Sequence[float]]:
    """Returns by phase, in their order, how long each message was in it, in ms; of messages received between these.

    A message is taken where its trace is whole: one answer in one piece, both texts moderated.
    """
    traces: dict[str, dict[str, list[Seen]]] = defaultdict(lambda: defaultdict(list))
    for span in sorted(spans, key=lambda span: span.began_s):
        traces[span.trace][span.name.partition(" ")[0]].append(span)
    found: dict[str, list[float]] = defaultdict(list)
    for steps in traces.values():
        if steps["POST"] and since_s <= steps["POST"][0].began_s < until_s and _whole(steps):
            for phase, seconds in _phases_s(steps).items():
                found[phase].append(1000 * seconds)
    return found


def _whole(steps: Mapping[str, Sequence[Seen]]) -> bool:
    once = ("POST", "intake", "route", "chat", "store", "send")
    return all(len(steps[name]) == 1 for name in once) and len(steps["moderate"]) == 2


def _phases_s(steps: Mapping[str, Sequence[Seen]]) -> Mapping[str, float]:
    received, stored, routed, asked, kept, sent = (
        steps[name][0] for name in ("POST", "intake", "route", "chat", "store", "send")
    )
    before, after = steps["moderate"]
    return {
        "acknowledged, in the inbox and the queue": stored.began_s - received.began_s,
        "stored": stored.ended_s - stored.began_s,
        "until its turn is claimed and read": routed.began_s - stored.ended_s,
        "routed": routed.ended_s - routed.began_s,
        "limits asked, prompt built": asked.began_s - routed.ended_s - (before.ended_s - before.began_s),
        "LLM asked": asked.ended_s - asked.began_s,
        "both texts moderated": sum(each.ended_s - each.began_s for each in (before, after)),
        "answer stored": kept.ended_s - kept.began_s,
        "until its delivery is claimed": sent.began_s - kept.ended_s,
        "sent": sent.ended_s - sent.began_s,
    }
