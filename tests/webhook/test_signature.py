from tests.webhook.posting import sign
from webhook.signature import Form, Signatures, parse_form

VECTOR = "L/OH5YylLD5NRKLltdqwSvS0BnU="
FORM = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675310&Digits=1234&From=%2B14158675310&To=%2B18005551212"


def form_of(body: bytes) -> Form:
    form = parse_form(body)
    assert form is not None
    return form


def test_twilios_own_example_is_accepted():
    signatures = Signatures("https://example.com", ["12345"])
    assert signatures.accept("/myapp.php?foo=1&bar=2", form_of(FORM), VECTOR)
    assert not signatures.accept("/myapp.php?foo=1&bar=3", form_of(FORM), VECTOR)
    assert not signatures.accept("/myapp.php?foo=1&bar=2", form_of(FORM + b"&x="), VECTOR)
    assert not Signatures("http://example.com", ["12345"]).accept("/myapp.php?foo=1&bar=2", form_of(FORM), VECTOR)


def test_empty_values_are_part_of_what_is_signed():
    form = form_of(b"Body=&A=1&B")
    assert form == {"Body": [""], "A": ["1"], "B": [""]}
    signatures = Signatures("https://h.example", ["t"])
    assert signatures.accept("/w", form, sign("https://h.example/w", {"Body": "", "A": "1", "B": ""}, "t"))
    assert not signatures.accept("/w", form, sign("https://h.example/w", {"A": "1"}, "t"))


def test_repeated_names_are_signed_once_per_value():
    signatures = Signatures("https://h.example", ["t"])
    form = form_of(b"A=2&A=1&A=2")
    assert signatures.accept("/w", form, sign("https://h.example/w", Form(A=["1", "2"]), "t"))


def test_a_default_port_that_twilio_added_or_left_out_still_matches():
    form = form_of(b"A=1")
    assert Signatures("https://h.example", ["t"]).accept("/w", form, sign("https://h.example:443/w", form, "t"))
    assert Signatures("https://h.example:8443", ["t"]).accept("/w", form, sign("https://h.example/w", form, "t"))


def test_a_public_url_that_cannot_be_read_refuses_and_does_not_fail():
    form = form_of(b"A=1")
    assert not Signatures("https://h.example:99999", ["t"]).accept("/w", form, "A" * 28)


def test_names_are_sorted_by_case():
    form = form_of(b"b=1&B=2&a=3")
    assert Signatures("https://h", ["t"]).accept("/", form, sign("https://h/", {"B": "2", "a": "3", "b": "1"}, "t"))


def test_a_user_and_password_in_the_public_url_are_not_signed():
    form = form_of(b"A=1")
    assert Signatures("https://me:secret@h.example/bot", ["t"]).accept(
        "/w", form, sign("https://h.example/bot/w", form, "t")
    )
