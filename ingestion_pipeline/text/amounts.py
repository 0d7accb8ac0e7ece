"""Amounts of money in a text, as far as they show whether something costs anything.

Source of the codes: ISO 4217. A number without a currency counts as an amount, because the text is
the value of a field for a price.
"""

from __future__ import annotations

import re
from functools import lru_cache

_CODES = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP "
    "BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP "
    "GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR "
    "KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
    "MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR "
    "SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS "
    "UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG"
)
"""Only in capitals: `TOP 10` is an amount, and `top 10` is none."""
_WORDS = (
    *("eur", "euro", "euros", "usd", "gbp", "chf", "sek", "nok", "dkk", "pln", "czk", "huf", "rub"),
    *("dollar", "dollars", "pound", "pounds", "pence", "penny", "p", "quid", "rappen"),
    *(
        "c",
        "ct",
        "cts",
        "cent",
        "cents",
        "centimes",
        "centime",
        "céntimos",
        "centesimi",
        "cêntimos",
    ),
    *("kr", "kronor", "kroner", "öre", "øre", "fr", "sfr", "francs", "franken"),
    *("zł", "zl", "złotych", "gr", "groszy", "kč", "kc", "korun", "ft", "forint", "lei", "лв"),
    *("р", "руб", "рублей", "рубля", "рубль", "грн", "yen", "円"),
)
_CURRENCY = (
    r"(?:[A-Z]{0,3}[$€£¥₽₴₺₪₹₩฿¢]|R\$"
    rf"|(?:{'|'.join(_CODES.split())})|(?i:{'|'.join(_WORDS)})\.?)"
)
_NUMBER = r"(?:\d+(?:[.,'’\u00a0\u202f ]\d{3})*(?:[.,]\d{1,2})?|[.,]\d{1,2})(?:[.,]?[-–—]{1,2})?"
_ONE = rf"(?:{_CURRENCY} ?)?(?:{_NUMBER})(?: ?{_CURRENCY})?"
_EACH = r"(?: ?(?:/|(?i:per|pro|par|por|je)\b) ?\d*\s?[^\W\d]\w*(?: [^\W\d]\w*)?)?"
_AMOUNT = re.compile(rf"({_ONE})(?: ?[-–] ?({_ONE}))?{_EACH}")
_LONGEST = 60


@lru_cache(maxsize=10_000)
def costs_something(text: str) -> bool | None:
    """Return whether the amount in a text is more than zero.

    Args:
        text: Such as `0.50 EUR`, `£0.00`, `20p`, `2.-`, `1-2 €` or `0,50 €/Nutzung`.

    Returns:
        None if the text is not an amount, or a range that begins at zero.
    """
    text = " ".join(text.split())
    found = _AMOUNT.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        return None
    ends = {bool(re.search("[1-9]", end)) for end in found.groups() if end is not None}
    return ends.pop() if len(ends) == 1 else None
