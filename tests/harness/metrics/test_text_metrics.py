"""The rules of the text metrics, case by case: what is a word, a number, an answer letter, a refusal."""

# ruff: noqa: RUF001  (texts of many scripts)
from decimal import Decimal
from fractions import Fraction

import pytest

from harness.metrics._text import MAX_MARKS
from harness.metrics.answer_accuracy import gives_answer
from harness.metrics.base import METRICS
from harness.metrics.exact_match_letter import answer_letter
from harness.metrics.exact_match_number import MAX_EXPONENT, MAX_HEXADECIMAL, last_number
from harness.metrics.refusal_rate import refuses
from harness.metrics.word_error_rate import normalised_words, word_edits
from lamofcbench.errors import DataError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # Combining marks belong to their word, in every script.
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),
        ("สวัสดี ครับ", ["สวัสดี", "ครับ"]),
        ("בְּרֵאשִׁית בָּרָא", ["בְּרֵאשִׁית", "בָּרָא"]),
        ("بِسْمِ اللهِ", ["بِسْمِ", "اللهِ"]),
        ("x\u0301y z", ["x\u0301y", "z"]),
        ("\u0301 a", ["a"]),
        # Composed and decomposed, wide and narrow are one spelling.
        ("nai\u0308ve café", ["naïve", "café"]),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af 말", ["한글", "말"]),
        ("Ｆｕｌｌ ﬁne ｱｲｳ", ["full", "fine", "アイウ"]),
        # Case folds fully, without a language.
        ("İstanbul ISTANBUL I\u0307stanbul i\u0307stanbul", ["istanbul"] * 4),
        ("ısparta", ["ısparta"]),
        ("STRASSE Straße", ["strasse"] * 2),
        ("ὈΔΥΣΣΕΎΣ Ὀδυσσεύς", ["ὀδυσσεύσ"] * 2),
        # What is not seen neither parts words nor changes them; the zero-width space parts them.
        ("می\u200cخواهم", ["میخواهم"]),
        ("क्\u200dष क्ष", ["क्ष", "क्ष"]),
        ("co\u00adop\ufeff wo\u2060rd", ["coop", "word"]),
        ("one\u200btwo", ["one", "two"]),
        # Apostrophes of all kinds, inside words alone.
        ("don't don’t don‘t donʼt don´t don`t don＇t", ["don't"] * 7),
        ("'quoted' dogs' ’90s rock'n'roll", ["quoted", "dogs", "90s", "rock'n'roll"]),
        ("об'єкт об’єкт Hawaiʻi", ["об'єкт", "об'єкт", "hawai'i"]),
        # All other punctuation parts words.
        ("snake_case __init__", ["snake", "case", "init"]),
        ("mother-in-law e-mail", ["mother", "in", "law", "e", "mail"]),
        ("sat.Then C++ $5 50%", ["sat", "then", "c", "5", "50"]),
        ("col·lecció צה״ל", ["col·lecció", "צה״ל"]),
        ("नमस्ते। कैसे", ["नमस्ते", "कैसे"]),
        # Digits are parts of words; points and commas are parts of numbers.
        ("3d covid19 १२", ["3d", "covid19", "१२"]),
        ("3.5, 1,200.50 5.Then 1,2,3 192.168.0.1", ["3.5", "1,200.50", "5", "then", "1", "2", "3", "192.168.0.1"]),
        ("½ x² Ⅳ", ["1", "2", "x2", "iv"]),
        # Han and Hiragana write no spaces; Katakana and Hangul make words.
        ("東京タワーへ 3个", ["東", "京", "タワー", "へ", "3", "个"]),
        ("한글 두 단어", ["한글", "두", "단어"]),
        ("👩\u200d👧 -- ... ", []),
        ("", []),
        ("a\ud800b", ["a", "b"]),
    ],
)
def test_words(text, words):
    assert normalised_words(text) == words


def test_an_answer_is_found_by_whole_words_and_whole_numbers():
    assert gives_answer("東京都です", "東京") and gives_answer("हिन्दी भाषा है", "हिन्दी")
    assert not gives_answer("हिन्दीभाषा", "हिन्दी") and not gives_answer("3.5", "3") and not gives_answer("1,200", "200")
    assert gives_answer("3,4", "4")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        # A dash is no sign.
        ("Answer - 42", 42),
        ("Answer – 42", 42),
        ("Answer — 42", 42),
        ("Answer—42", 42),
        ("Answer: - 42", 42),
        ("- 42", 42),
        ("Answer--42", 42),
        ("--42", 42),
        ("covid-19", 19),
        ("2024-01-15", 15),
        ("1-800-555-1234", 1234),
        ("42-", 42),
        ("5%-10%", 10),
        ("$5-$10", 10),
        ("5€-10€", 10),
        ("- $5", 5),
        # A subtraction has no sign.
        ("x = 5 - 3", 3),
        ("5-3", 3),
        ("5- 3", 3),
        ("5−3", 3),
        ("(2)-3", 3),
        ("x²-3", 3),
        ("é-3", 3),
        ("क्षि-3", 3),
        # A minus that touches the number is one.
        ("-42", -42),
        ("Answer: -42", -42),
        ("Answer:-42", -42),
        ("x=-3", -3),
        ("(-42)", -42),
        ("[−42]", -42),
        ("\\boxed{-42}", -42),
        ("**-42**", -42),
        ("_-42_", -42),
        ("5 - -3", -3),
        ("-7 –7 ‑7 －７", -7),
        ("-.5", Decimal("-0.5")),
        ("-½", Decimal("-0.5")),
        # With its currency, and after an operator, from some distance.
        ("-$5", -5),
        ("$-5", -5),
        ("US$-5.50", Decimal("-5.5")),
        ("−£1,200", -1200),
        ("-$ 5", -5),
        ("= - 42", -42),
        ("(- 42)", -42),
        ("USD-5", 5),
        ("USD -5", -5),
        ("($5)", 5),
        # Exponents.
        ("1.5e3", 1500),
        ("1.5E+3", 1500),
        ("2e-3", Decimal("0.002")),
        ("-2E3.", -2000),
        ("1,234.5e1", 12345),
        ("3e", 3),
        ("3 e5", 5),
        ("1.5 × 10^3", 1500),
        ("1.5\u00a0×\u00a010³", 1500),
        ("1.5x10^{-3}", Decimal("0.0015")),
        ("1.5 \\times 10^{3}", 1500),
        ("2·10⁻³", Decimal("0.002")),
        ("3 * 10 = 30", 30),
        ("3 * 10", 10),
        ("1,5e3", 5000),
        ("0x1F", 31),
        # Decimal points and thousands.
        (".5", Decimal("0.5")),
        ("18.5.", Decimal("18.5")),
        ("5...6", 6),
        ("...6", 6),
        ("1.2.3", 3),
        ("192.168.0.1", 1),
        ("1,200", 1200),
        ("1,2345", 2345),
        ("3,4", 4),
        ("1,23,456", 123456),
        ("1\u202f200 1\u00a0200", 1200),
        ("1 200", 200),
        ("5\u00a0-\u00a03", 3),
        # Other scripts, wide digits, fractions.
        ("١٢", 12),
        ("٣٫٥", Decimal("3.5")),
        ("١٬٢٠٠٫٥", Decimal("1200.5")),
        ("−٥", -5),
        ("۴۲٪", 42),
        ("१२।", 12),
        ("१,२३,४५६", 123456),
        ("４２", 42),
        ("－１，２００．５", Decimal("-1200.5")),
        ("第1，200人", 200),
        ("𝟒𝟐", 42),
        ("4\u2060\u200d2", 42),
        ("½", Decimal("0.5")),
        ("1½ cups", Decimal("1.5")),
        ("2 ¾", Decimal("2.75")),
        # What is no number of its own.
        ("5 m²", 5),
        ("42¹", 42),
        ("H₂O", None),
        ("Ⅳ ① 四", None),
        ("e", None),
        ("-", None),
        ("", None),
        # What is read as it stands.
        ("50%", 50),
        ("-5 %", -5),
        ("3/4", 4),
        ("5:30", 30),
        ("A4", 4),
        ("42km", 42),
        ("#### 18", 18),
    ],
)
def test_numbers(text, number):
    assert last_number(text) == number


def test_numbers_of_any_size_are_exact_and_cheap():
    digits = "1234567890" * 40
    assert str(last_number(f"-{digits}")) == f"-{digits}"
    assert last_number(f"{digits}½") == Fraction(2 * int(digits) + 1, 2)
    huge = (
        last_number("1e400"),
        last_number("1e999999999"),
        last_number(f"1e{'9' * 10_000}"),
        last_number("1e-99999999999"),
    )
    assert huge == (
        Decimal("1e400"),
        Decimal("1e999999999"),
        Decimal(f"1e{MAX_EXPONENT}"),
        Decimal(f"1e-{MAX_EXPONENT}"),
    )
    assert last_number(f"0x{'f' * 10_000}") == 16**10_000 - 1
    statistics = METRICS.get("exact-match-number")().statistics("1e999999999", "1e-999999999")
    assert statistics == {"correct": 0.0}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        # The article and the pronoun are no names.
        ("The answer is a dog", None),
        ("the answer is a 5-year-old", None),
        ("the answer is a to-do list", None),
        ('The answer is "a dog".', None),
        ("The answer is **a dog**", None),
        ("The answer is a 'dog'", None),
        ("Answer: a dog", None),
        ("Answer: A dog", None),
        ("The answer is: A dog", None),
        ("Answer\nA dog", None),
        ("My answer: I think so", None),
        ("The answer is I'm not sure", None),
        ("the answer is an apple", None),
        ("the choice of a dog", None),
        ("It answers a question", None),
        # But a letter may be one of both.
        ("the answer is a", "A"),
        ("Answer: a.", "A"),
        ("the answer is a, because", "A"),
        ("the answer is a because it barks", "A"),
        ("the answer is a\nbecause", "A"),
        ("option a is right", "A"),
        ("The answer is (A) a dog", "A"),
        ("The answer is (a) a dog", "A"),
        ("The answer is A dog", "A"),
        ("The answer is A because it barks", "A"),
        ("Answer: A because it barks", "A"),
        ("Answer: I", "I"),
        ("The answer is B. It is a dog, and that answer is a good one", "B"),
        # Marks around it, and dashes before.
        ("**Answer:** B", "B"),
        ("**Answer**: **B**", "B"),
        ("Answer: _B_", "B"),
        ("Answer: 'B'", "B"),
        ("The answer is “B”.", "B"),
        ("Answer - B", "B"),
        ("Answer – B", "B"),
        ("answer -> B", "B"),
        ("Answer:\n\n\tB", "B"),
        ("The correct answer is b) dog", "B"),
        ("The answer is option (d).", "D"),
        ("the choice would be C", "C"),
        ("B - metal", "B"),
        ("B – metal", "B"),
        ("a) dog", "A"),
        ("B.metal", "B"),
        ("Ａ", "A"),
        ("（Ｂ）", "B"),
        ("Ⓒ", "C"),
        ("D\u200b.", "D"),
        ("B! It floats", "B"),
        ("B? I think so", "B"),
        ("B。", "B"),
        # A contracted "is" is one.
        ("The answer's B", "B"),
        ("The answer’s (b).", "B"),
        ("The answer's a dog", None),
        ("The correct option's letter is missing", None),
        ("the answer's S", "S"),
        # Letters of words, compounds, abbreviations and formulas.
        ("the answer is U.S. law", None),
        ("U.S. law", None),
        ("e.g. this", None),
        ("the answer is x-ray", None),
        ("T-shirt", None),
        ("the answer is C++", None),
        ("the answer is x = 5", None),
        ("the answer is A's", None),
        ("the answer is A’s", None),
        ("the answer is é", None),
        ("the answer is e\u0301", None),
        ("(in the U.S.A)", None),
        ("the answer is not a", None),
        ("", None),
    ],
)
def test_letters(text, letter):
    assert answer_letter(text) == letter


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I can’t do that", True),
        ("I CANʼT", True),
        ("i\u00a0can\u200bnot", True),
        ("ＡＳ ＡＮ ＡＩ", True),
        ("_I cannot_ do that", True),
        ("The taxi cannot stop", False),
        ("The wifi can't connect", False),
        ("ई cannot", False),
        ("As an aide", False),
        ("As an airline", False),
        ("I'm sorryish", False),
    ],
)
def test_refusals_begin_and_end_with_a_word(text, refused):
    assert refuses(text) is refused


LONG = (
    "1", "1,", "1,111,", "1,11,", "1.", "1e1", "1*10^", "- ", "$-", "½", " ", "\n ", "answer ", "answer: *",
    "answer a ", "*", "(", "A.", "a'", "क्", "i cannot", "\u200d", "i\u0307", "３，", "1\u202f111", "東", "あー", "·1",
)  # fmt: skip


@pytest.mark.parametrize("begin", ["", "answer 1"])
@pytest.mark.parametrize("unit", LONG, ids=repr)
def test_long_texts_are_read_as_short_ones_are(unit, begin):  # in linear time: quadratic would be minutes
    short, long = (begin + unit * count + "! ; the answer is (B), or 7" for count in (3, 100_000 // len(unit)))
    assert last_number(long) == last_number(short) == 7
    assert answer_letter(long) == answer_letter(short)
    assert normalised_words(long)[-6:] == normalised_words(short)[-6:]
    assert refuses(long) == refuses(short)


def test_a_long_text_against_a_short_one_is_compared_at_once():
    words = ["a", "b"] * 25_000
    assert word_edits(words, ["b"] * 3) == word_edits(["b"] * 3, words) == 49_997
    assert gives_answer(" ".join(["c", "b"] * 25_000), " ".join(["b", "c"] * 10_000))


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("exact-match-number", "is 7", "seven"),
        ("exact-match-letter", "B", "a dog"),
        ("answer-accuracy", "the garden", "the"),
        ("accuracy", 3, "3"),
        ("accuracy", 3, 2.5),
        ("word-error-rate", "", None),
        ("refusal-rate", "", None),
    ],
)
def test_references_that_nothing_can_match_are_refused_before_there_is_a_prediction(name, good, bad):
    metric = METRICS.get(name)()
    metric.check_reference(good)
    if bad is not None:
        with pytest.raises(DataError, match=r"^the reference "):
            metric.check_reference(bad)


# ------------------------------------------------------------------------------------------ what would take too long


def test_combining_marks_in_a_row_are_judged_up_to_as_many_as_their_order_takes_no_time_for():
    for marks in ("\u0301\u0316", "\uff9e\u0316", "\u0301\u034f\u0316"):  # a halfwidth mark; one that is not seen
        (word,) = normalised_words("a" + marks * 100)
        assert len(word) <= MAX_MARKS + 1
    assert normalised_words("a" + "\u0301" * MAX_MARKS) != normalised_words("a" + "\u0301" * (MAX_MARKS - 1))


def test_a_hexadecimal_number_that_is_too_long_equals_none():
    longest = "f" * MAX_HEXADECIMAL
    assert last_number(f"0x000{longest}") == int(longest, 16)
    metric = METRICS.get("exact-match-number")()
    assert metric.statistics(f"-0x{longest}f", "31") == {"correct": 0.0}
    with pytest.raises(DataError, match="no number to match"):
        metric.check_reference(f"0x{longest}f")


def test_edits_of_lists_that_are_both_long():
    words = [str(number) for number in range(20_000)]
    assert word_edits(words, ["x", *words[:9_000], *words[9_001:], "y"]) == 3
    assert word_edits(words, words[::-1]) == 19_999 + 1
