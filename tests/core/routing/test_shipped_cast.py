"""What the shipped word lists promise. Sentences here were written for these tests alone."""

import sys
import time

import pytest

from core.routing.route import Router


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("Who knows about music?", "kasho"),
        ("Can you help me with music production?", "kasho"),
        ("who knows about comics?", "yuri"),
        ("What's a good sci-fi book?", "yuri"),
        ("How do I start streaming?", "botan"),
        ("Who knows a lot about streaming?", "botan"),
    ],
)
@pytest.mark.parametrize("current", [None, "botan", "kasho", "yuri"])
def test_the_articles_examples_reach_their_sister_whoever_talks(
    shipped: Router, text: str, character: str, current: str | None
):
    decision = shipped.route(text, current=current)
    assert decision.character == character
    assert decision.tier in {"words", "likeness"}


@pytest.mark.parametrize(
    ("language", "botan", "kasho", "yuri"),
    [
        ("en", "how do I get more followers", "my boyfriend broke up with me", "recommend me a novel"),
        ("es", "cómo crezco en tiktok", "¿cómo aprendo a tocar la guitarra?", "quiero escribir un cuento"),
        ("pt", "quero virar youtuber", "quero aprender violão", "qual livro devo ler"),
        ("de", "wie werde ich Streamer", "Gitarrenunterricht für Anfänger", "Bücher über Zeitreisen"),
        ("zh-Hans", "最近有什么好看的电影", "我想学吉他", "推荐一本小说"),
        ("zh-Hant", "推薦一款手遊", "跟男友分手了", "最近有什麼好看的動漫"),
        ("ja", "どのゲームがおすすめ?", "上司と合わない", "面白い漫画ある?"),
        ("id", "game apa yang seru", "gajiku kecil banget", "buku-bukunya bagus semua"),
        ("hi-Latn", "konsi movie dekhu", "mera breakup ho gaya", "koi achi kitab batao"),
    ],
)
def test_each_subject_is_known_in_each_language(shipped: Router, language: str, botan: str, kasho: str, yuri: str):
    chosen = [shipped.route(text, current=None) for text in (botan, kasho, yuri)]
    assert [d.character for d in chosen] == ["botan", "kasho", "yuri"], language
    assert {d.tier for d in chosen} <= {"words", "likeness"}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "hello there",
            "how are you?",
            "lol",
            "what time is it",
            "I'm hungry",
            "I live in Berlin",
            "show me",
            "i like pizza",
        ),
        *("I bred two dogs", "a large display", "steamed fish for dinner", "what a cute animal", "let me book a table"),
        *("hola", "tengo hambre", "estoy en casa", "solo quería saludar", "bom dia", "que horas são", "vou dormir"),
        *("guten morgen", "ich sage nichts", "zum Beispiel morgen", "wie spät ist es", "bis später"),
        *("你好", "我饿了", "几点了", "已讀不回", "謝謝", "お腹すいた", "日本に住んでる", "大丈夫", "おやすみ"),
        *(
            "apa kabar",
            "aku lapar",
            "mau tidur",
            "kaise ho",
            "kya haal hai",
            "bhook lagi hai",
            "👋",
            "",
            "...",
            "12345",
        ),
    ],
)
def test_small_talk_has_no_subject(shipped: Router, text: str):
    assert shipped.route(text, current=None).tier == "default"
    decision = shipped.route(text, current="yuri")
    assert (decision.character, decision.tier, decision.switched) == ("yuri", "stay", False)


@pytest.mark.parametrize(
    ("text", "character"),
    [
        *(
            ("Kasho, what's up", "kasho"),
            ("ok, yuri?", "yuri"),
            ("yuri?", "yuri"),
            ("@yuri hi", "yuri"),
            ("YURI!!!", "yuri"),
        ),
        *(("hey kasho how do i play", "kasho"), ("thanks kasho!", "kasho"), ("🌸 botan, help", "botan")),
        *(("talk to botan", "botan"), ("i need kasho", "kasho"), ("so what does kasho think?", "kasho")),
        *(("Kasho\nI have a problem", "kasho"), ("Kasho-san, hello", "kasho"), ("what do you think yuri", "yuri")),
        *(("kahso, hi", "kasho"), ("talk to botna", "botan"), ("quiero hablar con kasho", "kasho")),
        *(("posso falar com a yuri?", "yuri"), ("frag mal Yuri", "yuri"), ("kann ich mit kasho reden?", "kasho")),
        *(("aku mau ngobrol sama kasho", "kasho"), ("kasho se baat karni hai", "kasho"), ("kasho batao", "kasho")),
        *(("ユリちゃん、おはよう", "yuri"), ("ゆりに聞きたいことがある", "yuri"), ("カショー教えて", "kasho")),
        *(
            ("百合,你好", "yuri"),
            ("我想和百合聊聊", "yuri"),
            ("叫牡丹來", "botan"),
            ("\uff39\uff55\uff52\uff49\uff0chi", "yuri"),
        ),
        ("kasho, which comics should I read?", "kasho"),
        ("Kasho, what did Yuri say?", "kasho"),
    ],
)
def test_who_is_addressed_by_name_answers_whatever_the_subject(shipped: Router, text: str, character: str):
    decision = shipped.route(text, current="botan")
    assert (decision.character, decision.tier) == (character, "addressed")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "yuri told me to read it",
            "Botan is nice",
            "my friend yuri likes you",
            "I asked yuri yesterday",
            "yuri's cat",
        ),
        *("did you ask kasho?", "do you know yuri?", "is there any yuri manga", "botany?", "write to x@yuri.com"),
        *("I met Anna, botan and kasho", "they are called botan, kasho, yuri", "Kasho said no", "yuri me dijo que no"),
        *("yuri hat gesagt", "kasho ne bola", "yuri bilang gitu", "ゆりは来ない", "牡丹花很漂亮", "yuri-related stuff"),
    ],
)
def test_a_name_merely_mentioned_is_no_request(shipped: Router, text: str):
    assert shipped.route(text, current="botan").tier != "addressed"


@pytest.mark.parametrize(
    "forms",
    [
        *(("comic", "comics"), ("song", "songs"), ("stream", "streams", "streamed"), ("novel", "novels")),
        *(
            ("canción", "canciones", "cancion"),
            ("Buch", "Bücher"),
            ("livro", "livros"),
            ("buku", "bukunya"),
            ("rap", "rapping"),
        ),
    ],
)
def test_a_words_forms_reach_the_same_character(shipped: Router, forms: tuple[str, ...]):
    decisions = [shipped.route(form, current=None) for form in forms]
    assert {d.tier for d in decisions} == {"words"}
    assert len({d.character for d in decisions}) == 1


def test_a_thousand_messages_a_second_are_routed_on_one_core(shipped: Router, capsys: pytest.CaptureFixture[str]):
    texts = [f"hey{n} my guitar{n} teacher wants me to read chapter{n} before the concert tomorrow" for n in range(500)]
    started = time.process_time()
    for text in texts:
        shipped.route(text, current="kasho")
    rate = len(texts) / (time.process_time() - started)
    with capsys.disabled():
        sys.stdout.write(f"\nrouting: {rate:,.0f} messages/s on one core (goal 1,000)\n")
    assert rate > 100  # the goal is printed, not asserted: machines differ, but not by an order of magnitude


@pytest.mark.parametrize(
    "text", ["a," * 2000, "i want to " * 400, ", " * 2000, "hi yuri, " * 400, "あ" * 4000, "y" * 10**6]
)
def test_no_message_is_slow(shipped: Router, text: str):
    started = time.process_time()
    shipped.route(text, current=None)
    assert time.process_time() - started < 0.5
