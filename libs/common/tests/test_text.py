import pytest

from common.text import contains_phrase, fold, fold_all, fold_keyword


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("È all'ultimo piano!", "e all ultimo piano"),
        ("Via dell\N{RIGHT SINGLE QUOTATION MARK}Orto, 3", "via dell orto 3"),
        ("L`Aquila", "l aquila"),
        ("CITTÀ", "citta"),
        ("Cittá", "citta"),
        ("citta\u0300", "citta"),
        ("Straße", "strasse"),
        ("A/C, wi-fi & more", "a c wi fi more"),
        ("80 m²", "80 m2"),
        ("snake_case", "snake case"),
        ("dell\N{MODIFIER LETTER APOSTROPHE}Orto", "dell orto"),
        (
            "dell\N{PRIME}Orto dell\N{FULLWIDTH APOSTROPHE}Orto dell\N{ACUTE ACCENT}Orto",
            "dell orto dell orto dell orto",
        ),
        (
            "bal\N{SOFT HYPHEN}cone con\N{ZERO WIDTH SPACE}dizionata \N{LEFT-TO-RIGHT MARK}vista",
            "balcone condizionata vista",
        ),
        ("\N{MATHEMATICAL BOLD CAPITAL A}\N{MATHEMATICAL BOLD SMALL T}tico", "attico"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER B}ox u\N{LATIN SMALL LIGATURE FF}icio", "box ufficio"),
        ("3\N{MASCULINE ORDINAL INDICATOR} piano", "3o piano"),
        ("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}stanbul", "istanbul"),
        ("не\N{COMBINING ACUTE ACCENT}т животных \N{HOUSE BUILDING}", "нет животных"),
        (" \n\t ", ""),
        ("", ""),
    ],
)
def test_folding_leaves_words_in_lower_case_without_accents(text: str, words: str) -> None:
    assert fold(text) == words


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("Casa in via dell'Orto", "orto"),
        ("Casa in via dell\N{RIGHT SINGLE QUOTATION MARK}Orto", "Orto"),
        ("Casa in via dell\N{RIGHT SINGLE QUOTATION MARK}Orto", "dell'orto"),
        ("Appartamento all'ultimo piano, con terrazzo", "ultimo piano"),
        ("Not suitable for pets; no-smoking", "no smoking"),
        ("Città Studi", "citta' studi"),
        ("Vicino all\N{RIGHT SINGLE QUOTATION MARK}Università", "universita"),
        ("Casa in via dell'Orto", "dell\N{RIGHT SINGLE QUOTATION MARK}Orto"),
        ("un bell'appartamento d'epoca", "appartamento d'epoca"),
        ("zona Sant\N{RIGHT SINGLE QUOTATION MARK}Agostino", "S\N{LATIN SMALL LETTER A}nt'Agostino"),
        ("balcone", "balcone"),
        ("Libero: balcone", "balcone"),
    ],
)
def test_a_phrase_is_found_as_whole_words(text: str, phrase: str) -> None:
    assert contains_phrase(fold(text), fold(phrase))


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("Porto", "orto"),
        ("Bartolomeo", "bar"),
        ("ultimo bel piano", "ultimo piano"),
        ("piano ultimo", "ultimo piano"),
        ("due balconi", "balcone"),  # whole words as they are written: see the decision on keywords
        ("terrazzini", "terrazzi"),
        ("Via dell'Ortolano", "dell'Orto"),
        ("balcone", "balcone grande"),
        ("anything", "!!"),
        ("", "balcone"),
    ],
)
def test_a_phrase_is_not_found_in_parts_of_words_or_out_of_order(text: str, phrase: str) -> None:
    assert not contains_phrase(fold(text), fold(phrase))


@pytest.mark.parametrize(
    ("keyword", "folded"),
    [
        ("l'ascensore", "ascensore"),
        ("L\N{RIGHT SINGLE QUOTATION MARK}Ascensore", "ascensore"),
        ("un'altra stanza", "altra stanza"),
        ("dell'Orto", "dell orto"),  # a preposition is a part of the name
        ("la spezia", "la spezia"),
        ("un posto auto", "un posto auto"),
        ("L 5", "l 5"),
        ("l'", "l"),
        ("!", ""),
    ],
)
def test_an_elided_article_before_a_keyword_does_not_count(keyword: str, folded: str) -> None:
    assert fold_keyword(keyword) == folded


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Wi-Fi, semi-arredato", "wifi semiarredato"),
        ("Wi\N{NON-BREAKING HYPHEN}Fi", "wifi"),
        ("bilocale 2-3 persone, A4-B", ""),
        ("Milano - Loreto", ""),
    ],
)
def test_hyphenated_words_can_also_be_read_as_one(text: str, words: str) -> None:
    assert fold_all(text) == f"{fold(text)} | {words}"
