import pytest

from common.text import contains_phrase, fold


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
        ("balcone", "balcone grande"),
        ("anything", "!!"),
        ("", "balcone"),
    ],
)
def test_a_phrase_is_not_found_in_parts_of_words_or_out_of_order(text: str, phrase: str) -> None:
    assert not contains_phrase(fold(text), fold(phrase))
