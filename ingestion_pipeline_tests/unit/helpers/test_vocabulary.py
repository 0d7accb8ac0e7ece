"""Spellings of publishers and mappers, and the words of the vocabularies that they mean."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion_pipeline.helpers import vocabulary
from ingestion_pipeline.helpers.synonyms import SYNONYMS
from ingestion_pipeline.helpers.vocabulary import is_unparsed, known_value, words_of
from ingestion_pipeline.text.folding import folded

FEES = {
    "no": [
        *("0.00", "£0.00", "0 EUR", "0,00 €", "$0", "0", "0.0", "€0,-", "0 Kč", "R$ 0,00", "0 kr"),
        *("£0", "EUR 0.00", "0,00", "CHF 0.-", "0€", "$0.00", "0 руб.", "0 zł", "0.00 GBP/use"),
        *("free", "Free", "FREE OF CHARGE", "No charge", "kostenlos", "Kostenfrei", "gebührenfrei"),
        *("gratuit", "Gratuite", "gratis", "Gratuito", "ilmainen", "maksuton", "avgiftsfritt"),
        *("bezpłatny", "zdarma", "бесплатно", "no", "Non", "Nein", "FALSE", "Нет", "none"),
    ],
    "yes": [
        *("0.10", "£0.20", "0.50 EUR", "0,50 €", "1€", "EUR 2", "$1", "20p", "50 c", "50 ct"),
        *("2.-", "CHF 2.–", "1-2 €", "0,50 €/Nutzung", "20p per use", "1€/30 min", "10 kr"),
        *("5 zł", "20 Kč", "100 руб.", "200 Ft", "R$ 1,50", "CA$2", "¥100", "0.50€; 1€"),
        *("yes", "Oui", "Ja", "TRUE", "kostenpflichtig", "payant", "de pago", "a pagamento"),
        *("maksullinen", "płatna", "платный", "24/7"),
    ],
    "donation": ["donation", "Spende", "by donation"],
    "customers": ["customers", "free for customers"],
    "sometimes": ["Mo-Fr 08:00-19:00", "08:00-18:00", "interval", "Sa-Su"],
    None: [
        *("unknown", "U", "", "30 min", "Mon 5", "0-1 €", "no;yes", "off", "open", "closed", "m"),
        *("no (wifi); yes (cafe computers)", "10 %", "-1 €", "see sign", "24/07/2016", "0/7"),
    ],
}
STATUSES = {
    "operating": [
        *("operating", "Open", "Active", "In service", "operational", "In Betrieb", "En service"),
        *("Ouvert", "en servicio", "In funzione", "i drift", "Käytössä", "czynna", "v provozu"),
        *("работает", "In gebruik", "ativo", "En fonctionnement"),
    ],
    "out_of_order": [
        *("out_of_order", "Closed", "CLOSED", "Temporarily closed", "out of service", "Fermé"),
        *("HORS SERVICE", "Fermeture hivernale", "Außer Betrieb", "geschlossen", "defekt"),
        *("Fuera de servicio", "chiuso", "Stängd", "suljettu", "nieczynny", "mimo provoz"),
        *("не работает", "buiten gebruik", "ude af drift", "fechado", "needs_maintenance"),
        *("Closed for Construction", "Absent momentanément"),
    ],
    "construction": ["construction", "Under construction", "Im Bau", "en construction"],
    "disused": ["Permanently closed", "stillgelegt", "decommissioned"],
    "proposed": ["planned", "Geplant", "prévu"],
    "demolished": ["removed", "Entfernt", "supprimé"],
    None: ["0", "1", "yes", "no", "Oui", "open; closed", "spring to fall", "?"],
}
OTHERS = {
    "access": {
        "yes": ["yes", "public", "Öffentlich", "pubblico", "yes;permissive"],
        "customers": ["customers", "Customers only", "nur für Kunden", "staff;customers"],
        "private": ["Private", "privé", "residents"],
        "no": ["no", "No public access", "False"],
        None: ["unknown", "fine_gravel", "yes;no", "1"],
    },
    "wheelchair": {
        "yes": ["yes", "Oui", "TRUE", "Ja", "Sí", "fully accessible", "rollstuhlgerecht", "да"],
        "limited": ["limited", "partial", "Teilweise", "parziale", "osittain esteetön"],
        "no": ["no", "Not accessible", "nicht rollstuhlgerecht", "Ei", "нет"],
        "designated": ["designated"],
        None: ["U", "Non renseigné", "yes;no", "1", "0"],
    },
}
SPELLINGS = [
    (column, text, word)
    for column, words in {"fee": FEES, "status": STATUSES, **OTHERS}.items()
    for word, texts in words.items()
    for text in texts
]


@pytest.mark.parametrize(("column", "text", "word"), SPELLINGS)
def test_a_spelling_is_its_word_or_not_understood(column: str, text: str, word: str | None) -> None:
    assert known_value(column, text) == word


@settings(deadline=None)  # the first example reads the words of all languages
@given(
    st.sampled_from(["0", "0.00", "0,00", "0,-", "0.0"]),
    st.sampled_from(["", "€", "$", "£", "EUR", "GBP", "kr", "zł", "Kč"]),
    st.sampled_from(["{0}{1}", "{0} {1}", "{1}{0}", "{1} {0}"]),
)
def test_a_price_of_zero_is_free_in_every_currency(zero: str, currency: str, form: str) -> None:
    assert known_value("fee", form.format(zero, currency).strip()) == "no"
    price = form.format(zero.replace("0", "3", 1), currency).strip()
    assert known_value("fee", price) == "yes"


@given(st.text(max_size=30))
def test_no_text_gives_another_word_than_those_of_the_vocabulary(text: str) -> None:
    for column in vocabulary.VOCABULARIES:
        assert known_value(column, text) in {None, *words_of(column)}


@pytest.mark.parametrize("column", vocabulary.VOCABULARIES)
def test_a_synonym_has_one_meaning(column: str) -> None:
    assert SYNONYMS[column].keys() <= set(words_of(column))
    known = [folded(text) for texts in SYNONYMS[column].values() for text in set(texts)]
    meanings = {text: {known_value(column, text)} for text in known}
    for word, texts in SYNONYMS[column].items():
        for text in texts:
            meanings[folded(text)].add(word)
    assert {text: words for text, words in meanings.items() if len(words) > 1} == {}


@pytest.mark.parametrize("column", vocabulary.VOCABULARIES)
def test_every_word_of_a_vocabulary_means_itself(column: str) -> None:
    assert [known_value(column, word) for word in words_of(column)] == list(words_of(column))


def test_the_words_of_a_status_are_those_of_the_type() -> None:
    assert words_of("status") == get_args(vocabulary.Status)


def test_what_gives_no_value_is_not_counted_as_not_understood() -> None:
    assert [is_unparsed("fee", text) for text in (None, "", "unknown", "U", "0.50 EUR")] == [
        False
    ] * 5
    assert is_unparsed("fee", "see sign")
    assert is_unparsed("wheelchair", "yes;no")
    assert not is_unparsed("level", "any")
