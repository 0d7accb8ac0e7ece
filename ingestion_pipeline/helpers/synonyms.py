"""Words that publishers and mappers use for the words of the vocabularies, by language.

A word is here only if it has one meaning in the column, in every language that has the word. It is
compared in lower case and without accents (`text/folding.py`). Yes and no are no status, because a
field `CLOSED` and a field `OPEN` have the same words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_YES = (
    *("yes", "y", "true", "t"),  # en, and truth values of databases
    *("ja", "j", "wahr"),  # de, nl, sv, da
    *("oui", "vrai"),  # fr
    *("sí", "si", "verdadero"),  # es, it
    *("vero", "sim", "verdadeiro"),  # it, pt
    *("kyllä", "tosi", "waar", "sant", "sand"),  # fi, nl, sv, da
    *("tak", "prawda", "ano", "pravda"),  # pl, cs
    *("да", "истина"),  # ru
)
_NO = (
    *("no", "n", "false", "f"),
    *("nein", "falsch"),
    *("non", "faux"),
    *("falso", "não", "nao"),
    *("ei", "epätosi", "nee", "onwaar", "nej", "falskt", "falsk"),
    *("nie", "fałsz", "ne", "nepravda"),
    *("нет", "ложь"),
)

_ACCESS = {
    "yes": (
        *(*_YES, "public", "open to the public", "öffentlich", "publique", "público", "pública"),
        *("pubblico", "pubblica", "openbaar", "allmän", "offentlig", "julkinen", "publiczny"),
        *("publiczna", "veřejný", "veřejné", "общественный", "общедоступный"),
    ),
    "no": (*_NO, "no access", "no public access"),
    "customers": (
        *("customers only", "for customers", "customer", "patrons only"),
        *("kunden", "nur für kunden", "nur kunden", "clients", "réservé aux clients", "clientes"),
        *("solo clientes", "clienti", "solo clienti", "klanten", "alleen voor klanten"),
        *("asiakkaille", "kunder", "klienci", "zákazníci", "только для клиентов", "для клиентов"),
    ),
    "members": ("members only",),
    "permit": ("permission",),
    "private": (
        *("residents", "privat", "privé", "privée", "privado", "privada", "privato", "privata"),
        *("yksityinen", "prywatny", "soukromý", "частный", "частная"),
    ),
}

_FEE = {
    "yes": (
        *(*_YES, "24/7", "always"),
        *("paid", "charged", "chargeable", "fee", "pay", "paying"),
        *("kostenpflichtig", "gebührenpflichtig", "payant", "payante", "de pago", "a pagamento"),
        *(
            "pago",
            "paga",
            "betaald",
            "betalend",
            "avgiftsbelagd",
            "maksullinen",
            "płatny",
            "płatna",
        ),
        *("płatne", "placené", "placený", "платно", "платный", "платная"),
    ),
    "no": (
        *(*_NO, "free", "free of charge", "free to use", "free access", "no charge", "no fee"),
        *("none", "nil", "zero"),
        *("kostenlos", "kostenfrei", "gebührenfrei", "frei", "unentgeltlich", "umsonst", "gratis"),
        *("gratuit", "gratuite", "gratuits", "gratuites", "gratuito", "gratuita", "libre"),
        *("kosteloos", "avgiftsfri", "avgiftsfritt", "kostnadsfri", "kostnadsfritt", "ilmainen"),
        *("maksuton", "bezpłatny", "bezpłatna", "bezpłatne", "bezpłatnie", "darmowy", "darmowe"),
        *("zdarma", "бесплатно", "бесплатный", "бесплатная", "бесплатное"),
    ),
    "customers": ("free for customers", "customers only"),
    "donation": (
        *("donations", "by donation", "voluntary", "spende", "spenden", "don", "donativo"),
        *("offerta libera", "donatie", "пожертвование"),
    ),
    "sometimes": ("interval",),
}

_WHEELCHAIR = {
    "yes": (
        *(*_YES, "accessible", "fully accessible", "wheelchair accessible", "full", "fully"),
        *("rollstuhlgerecht", "barrierefrei", "voll", "vollständig", "accessible pmr"),
        *("accesible", "accessibile", "acessível", "toegankelijk", "esteetön", "dostępny"),
        *("dostępna", "dostępne", "bezbariérový", "bezbariérové", "bezbariérová", "доступно"),
    ),
    "limited": (
        *("partial", "partially", "partly", "partially accessible", "partly accessible"),
        *("with assistance", "with help", "limited access"),
        *("teilweise", "eingeschränkt", "bedingt", "partiel", "partielle", "partiellement"),
        *("parcial", "parcialmente", "parziale", "parzialmente", "gedeeltelijk", "delvis"),
        *("osittain", "osittain esteetön", "częściowo", "částečně", "частично"),
    ),
    "no": (
        *(*_NO, "not accessible", "inaccessible", "non accessible", "nicht rollstuhlgerecht"),
        *("nicht barrierefrei", "no accesible", "non accessibile", "niet toegankelijk"),
        *("niedostępny", "недоступно"),
    ),
}

_STATUS = {
    "operating": (
        *("open", "active", "operational", "in operation", "in service", "in use", "working"),
        *("available", "functional", "functioning", "existing", "current"),
        *("in betrieb", "aktiv", "geöffnet", "offen", "verfügbar", "funktionsfähig"),
        *("en fonctionnement", "en fonction", "en marche", "en funcionamiento"),
        *("en service", "ouvert", "ouverte", "actif", "disponible", "fonctionnel"),
        *("fonctionnelle", "en servicio", "operativo", "operativa", "activo", "activa", "abierto"),
        *("abierta", "in servizio", "in funzione", "attivo", "attiva", "aperto", "aperta"),
        *("em serviço", "em funcionamento", "ativo", "ativa", "aberto", "aberta"),
        *("in gebruik", "actief", "i drift", "öppen", "öppet", "åben", "åbent", "aktivní"),
        *("käytössä", "avoinna", "auki", "czynny", "czynna", "czynne", "otwarty", "otwarte"),
        *("v provozu", "otevřeno", "работает", "действует", "открыт", "открыто", "открыта"),
    ),
    "out_of_order": (
        *("out of service", "broken", "closed", "temporarily closed", "closed temporarily"),
        *("temporary closed", "not working", "not in operation", "not operational", "unavailable"),
        *("inoperative", "non operational", "under repair", "needs maintenance", "maintenance"),
        *("under maintenance", "closed for maintenance", "seasonally closed", "closed for winter"),
        *("closed for the season", "winterized", "closed for construction", "closed for repair"),
        *("closed for repairs", "closed for renovation", "temporarily unavailable"),
        *("außer betrieb", "defekt", "geschlossen", "gesperrt", "vorübergehend geschlossen"),
        *("in wartung", "winterpause", "nicht in betrieb", "in reparatur"),
        *("fermé temporairement", "temporairement fermé", "absent momentanément"),
        *("cerrado temporalmente", "chiuso temporaneamente", "tijdelijk gesloten"),
        *("hors service", "fermé", "fermée", "en panne", "indisponible", "en maintenance"),
        *("fermeture hivernale", "fuera de servicio", "cerrado", "cerrada", "averiado", "averiada"),
        *("fuori servizio", "chiuso", "chiusa", "guasto", "guasta", "non attivo", "non attiva"),
        *("fora de serviço", "fechado", "fechada", "encerrado", "encerrada", "avariado"),
        *("buiten gebruik", "buiten dienst", "gesloten", "defect", "ur funktion", "ur drift"),
        *("stängd", "stängt", "ude af drift", "lukket", "epäkunnossa", "suljettu"),
        *("nieczynny", "nieczynna", "nieczynne", "zamknięty", "zamknięte", "awaria"),
        *("mimo provoz", "zavřeno", "не работает", "закрыт", "закрыто", "закрыта", "неисправен"),
    ),
    "construction": (
        *("under construction", "in bau", "im bau", "en construction", "en construcción"),
        *("in costruzione", "em construção", "in aanbouw", "under byggnad", "under opførelse"),
        *("rakenteilla", "w budowie", "ve výstavbě", "строится"),
    ),
    "disused": (
        *("permanently closed", "closed permanently", "decommissioned", "retired", "not in use"),
        *("dauerhaft geschlossen", "stillgelegt", "définitivement fermé", "fermé définitivement"),
        *("cerrado permanentemente", "chiuso definitivamente", "definitief gesloten"),
        *("pysyvästi suljettu", "закрыто навсегда"),
    ),
    "proposed": (
        *("planned", "in planung", "geplant", "prévu", "en projet", "planificado", "previsto"),
        *("gepland", "planerad", "planlagt", "suunniteltu", "planowany", "plánováno"),
        *("планируется",),
    ),
    "demolished": (
        *("removed", "demolished", "dismantled", "destroyed", "razed", "entfernt", "abgebaut"),
        *(
            "supprimé définitivement",
            "supprimé",
            "supprimée",
            "retirado",
            "eliminado",
            "rimosso",
            "verwijderd",
            "poistettu",
        ),
        *("zlikwidowany", "odstraněno", "демонтирован"),
    ),
}

SYNONYMS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "access": _ACCESS,
    "fee": _FEE,
    "wheelchair": _WHEELCHAIR,
    "status": _STATUS,
}
"""The synonyms of each word of each vocabulary, by column."""

UNKNOWN = (
    *("unknown", "u", "n/a", "na", "none given", "not known", "not specified", "null", "-", "?"),
    *("unbekannt", "keine angabe", "k.a", "inconnu", "non renseigné", "nc", "desconocido"),
    *("sconosciuto", "desconhecido", "onbekend", "okänd", "ukendt", "ei tiedossa", "nieznany"),
    *("neznámo", "неизвестно", "нет данных"),
)
"""Texts that give no value."""
