"""The people whose phones the page shows at first."""

from typing import Any, Final

from deploy.simulator.state import user_id_of

_PEOPLE: Final = (
    ("ana", "Ana", "#1f8f5f", "+1 555 010 0001", False),
    ("bo", "Bo", "#2f6fd0", "+49 170 0000002", False),
    ("noor", "Noor", "#9a4fc4", "+91 98000 00003", True),
    ("yui", "Yui", "#c2571a", "+81 90 0000 0004", False),
)


def people_json() -> list[dict[str, Any]]:
    """Returns them for `GET /simulator/people`; who hides the number is known by a user id alone."""
    return [_person(*each) for each in _PEOPLE]


def _person(name: str, shown: str, color: str, number: str, hidden: bool) -> dict[str, Any]:  # noqa: FBT001 - a row
    plain = "+" + "".join(filter(str.isdecimal, number))
    address = user_id_of(f"whatsapp:{plain}") if hidden else f"whatsapp:{plain}"
    return {
        "id": name,
        "name": shown,
        "color": color,
        "from": address.removeprefix("whatsapp:"),
        "person": address,
        "hidden": hidden,
        "number": "" if hidden else number,
    }
