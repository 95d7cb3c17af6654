"""Raw text in words: what must hold for any text, and each rule by example."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateflow.data.words import split_sentences, split_words

# Texts made of what the rules look for, so that they meet each other.
PARTS = (
    "a I Dr Mr U . .. ! ? … 。 , ' ’ n't 's s @ # _ - -- 1 23 : / http:// www. com e.g. ( ) [ \" “ "
    "😀 👩 \u200d \ufe0f 🇰 곰은 你 é \u0301"
)
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from([*PARTS.split(" "), " ", "\n", "\t", "\u3000"])).map("".join))


def words(text, **options):
    return [word.text for word in split_words(text, **options)]


def sentences(text):
    return [" ".join(word.text for word in sentence) for sentence in split_sentences(text)]


@given(text=TEXTS, split_hyphens=st.booleans())
def test_words_stand_where_they_say_and_leave_white_space_alone(text, split_hyphens):
    end = 0
    for word in split_words(text, split_hyphens=split_hyphens):
        assert word.text == text[word.begin : word.end]
        assert word.text
        assert not any(character.isspace() for character in word.text)
        assert word.begin >= end
        assert not text[end : word.begin].strip()
        end = word.end
    assert not text[end:].strip()


@given(text=TEXTS)
def test_sentences_are_the_words_and_no_sentence_has_two_lines(text):
    found = split_sentences(text)
    assert [word for sentence in found for word in sentence] == split_words(text)
    assert all(sentence and "\n" not in text[sentence[0].begin : sentence[-1].end] for sentence in found)


@given(text=TEXTS, other=TEXTS)
def test_a_word_does_not_depend_on_other_lines(text, other):
    assert words(text + "\n" + other) == words(text) + words(other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The bear, who slept; woke!", "The bear , who slept ; woke !"),
        ('"Bears" (brown) [big]', '" Bears " ( brown ) [ big ]'),
        (
            "Don't! I can’t; we'll, they've, I'd, I'm, you're.",
            "Do n't ! I ca n’t ; we 'll , they 've , I 'd , I 'm , you 're .",
        ),
        ("Teddy's DON'T shouldn't've", "Teddy 's DO N'T should n't 've"),
        ("the dogs' bowl 'quoted'", "the dogs ' bowl ' quoted '"),
        ("O'Brien rock'n'roll l'homme", "O'Brien rock'n'roll l'homme"),
        ("café's 곰's 's n't", "café's 곰's ' s n't"),
        ("3,000.50 1.5, 10:30. 11/27/2026 and/or 2pm 1,a", "3,000.50 1.5 , 10:30 . 11/27/2026 and / or 2pm 1 , a"),
        ("$5 50% -3 #1 C++ C#", "$ 5 50 % - 3 # 1 C ++ C #"),
        ("See https://x.org/a_(b)?q=1,2. Or www.x.org!", "See https://x.org/a_(b)?q=1,2 . Or www.x.org !"),
        ("(http://x.org) <http://x.org/곰>", "( http://x.org ) < http://x.org/곰 >"),
        ("Write to teddy.b+x@bears.co.uk, now", "Write to teddy.b+x@bears.co.uk , now"),
        ("@teddy_b #곰 #2bears #22 @ home a@b", "@teddy_b #곰 #2bears # 22 @ home a @ b"),
        ("in the U.S. at 3 p.m., e.g. U.S.'s", "in the U.S. at 3 p.m. , e.g. U.S. 's"),
        ("Dr. J. Smith and Mr. Lee etc.", "Dr. J. Smith and Mr. Lee etc."),
        ("So do I. Drums. Plan b.", "So do I . Drums . Plan b ."),
        ("bears.org usatoday.com end.Start", "bears.org usatoday.com end . Start"),
        ("well-known --- a- b", "well-known --- a - b"),
        ("wait... what?!! ----- ==>", "wait ... what ?!! ----- == >"),
        ("nice :-) :( x:) 10:30", "nice :-) :( x : ) 10:30"),
        ("곰은 잔다. 그렇다!", "곰은 잔다 . 그렇다 !"),
        ("熊在睡觉。你好!", "熊在睡觉 。 你好 !"),
        ("हिन्दी भाषा। e\u0301te\u0301", "हिन्दी भाषा । e\u0301te\u0301"),
        ("ok😀😀 👍🏽 👩‍👩‍👧 🇰🇷🇺🇸 ❤️", "ok 😀 😀 👍🏽 👩‍👩‍👧 🇰🇷 🇺🇸 ❤️"),
        ("snake_case €3 a\u00a0b\u3000c", "snake_case € 3 a b c"),
        ("", ""),
        (" \t\r\n", ""),
    ],
)
def test_rules(text, expected):
    assert words(text) == expected.split(" ") if expected else words(text) == []


def test_hyphens_are_split_if_asked():
    assert words("well-known 1990-95 a--b", split_hyphens=True) == "well - known 1990 - 95 a -- b".split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The bear slept. It woke. ", ["The bear slept .", "It woke ."]),
        ("It slept at 3.5 hours. then woke", ["It slept at 3.5 hours . then woke"]),
        ('He said "No." (Why?) She left.', ['He said " No . "', "( Why ? )", "She left ."]),
        ("Really?! Yes… No", ["Really ?!", "Yes …", "No"]),
        ("Dr. Lee of Bears Inc. slept", ["Dr. Lee of Bears Inc. slept"]),
        ("곰은 잔다. 나도 잔다.", ["곰은 잔다 .", "나도 잔다 ."]),
        ("熊在睡觉。你好!「是。」对", ["熊在睡觉 。", "你好 ! 「 是 。 」", "对"]),
        ("a line\nanother\r\n\n third", ["a line", "another", "third"]),
        ("No.Space . Here", ["No . Space .", "Here"]),
        ("It left. 3 came.", ["It left . 3 came ."]),
        ("", []),
    ],
)
def test_where_sentences_end(text, expected):
    assert sentences(text) == expected


@pytest.mark.parametrize(
    "part",
    [*"a a. A. ' a's a@ a@b. www.) 1, #1 😀\u200d e\u0301 a- .( A.B.C.D.x 한 http://".split(" "), " "],
)
def test_time_is_linear_in_text_without_spaces(part):
    """Ten times the text, far less than a hundred times the time."""

    def seconds(size):
        text = part * (size // len(part))
        start = time.process_time()
        split_sentences(text)
        return time.process_time() - start

    seconds(1000)
    short = seconds(20_000)
    assert seconds(200_000) < 40 * short + 0.5


def test_a_megabyte_without_spaces():
    (word,) = split_words("곰" * (1 << 20))
    assert (word.begin, word.end) == (0, 1 << 20)
