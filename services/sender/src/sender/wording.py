# ruff: noqa: RUF001 - Cyrillic letters look like Latin ones
"""Every word that a message is made of, per language; plurals by Unicode's categories (one, few, many, other)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from common.events import DirectPurpose, Language
from common.listing import ListingFlag, Offering, PropertyType, Signal
from common.search import Criterion

Plural = Mapping[str, str]


@dataclass(frozen=True)
class Wording:
    """The words of one language; `{…}` are filled in by `digest`."""

    found: Plural
    drops: Plural
    all_at_link: str
    rest_at_link: str
    more_searches: str
    dropped: str
    returned: str
    gone: str
    rent_unknown: str
    per_month: str
    per_square_metre: str
    per_year: str
    spese_included: str
    spese_amount: str
    spese_extra: str
    spese_unknown: str
    rooms: Plural
    unknown: str
    doubtful: str
    flat: str
    property_types: Mapping[PropertyType, str]
    offerings: Mapping[Offering, str]
    criteria: Mapping[Criterion, str]
    flags: Mapping[ListingFlag, str]
    signals: Mapping[Signal, str]
    direct: Mapping[DirectPurpose, str]
    reference: str
    answer_hint: str
    details_hint: str
    matches: str
    wanted: str
    no_interval: str


ITALIAN: Final = Wording(
    found={"one": "{n} annuncio", "other": "{n} annunci"},
    drops={"one": "{n} ribassato", "other": "{n} ribassati"},
    all_at_link="Dettagli: {link}",
    rest_at_link="{found} trovati, {shown} qui, {rest} al link: {link}",
    more_searches="+{n}",
    dropped="↓ era {before}",
    returned="di nuovo disponibile",
    gone="non più disponibile",
    rent_unknown="canone non indicato",
    per_month="{amount}/mese",
    per_square_metre="{amount}/m² al mese",
    per_year="{amount}/anno",
    spese_included=", spese incluse",
    spese_amount=" + {amount} spese",
    spese_extra=" + spese",
    spese_unknown=" (spese non indicate)",
    rooms={"one": "{n} locale", "other": "{n} locali"},
    unknown="Non indicato: {criteria}",
    doubtful="Da verificare: {flags}",
    flat="Annuncio",
    property_types={
        PropertyType.APARTMENT: "Appartamento",
        PropertyType.STUDIO: "Monolocale",
        PropertyType.ATTICO: "Attico",
        PropertyType.MANSARDA: "Mansarda",
        PropertyType.LOFT: "Loft",
        PropertyType.VILLA: "Villa",
        PropertyType.TERRACED_HOUSE: "Villetta a schiera",
        PropertyType.DETACHED_HOUSE: "Casa indipendente",
        PropertyType.RUSTIC: "Rustico",
        PropertyType.PALACE: "Palazzo",
    },
    offerings={Offering.ROOM: "Stanza"},
    criteria={
        Criterion.STATUS: "stato",
        Criterion.PLACE: "posizione",
        Criterion.SOURCE: "fonte",
        Criterion.RENT: "canone",
        Criterion.DEPOSIT: "deposito",
        Criterion.CONTRACT: "contratto",
        Criterion.OFFERING: "stanza o intero",
        Criterion.PROPERTY_TYPE: "tipologia",
        Criterion.ROOMS: "locali",
        Criterion.BEDROOMS: "camere",
        Criterion.BATHROOMS: "bagni",
        Criterion.AREA: "superficie",
        Criterion.FLOOR: "piano",
        Criterion.FURNISHING: "arredo",
        Criterion.FEATURES: "dotazioni",
        Criterion.ENERGY_CLASS: "classe energetica",
        Criterion.ADVERTISER: "inserzionista",
        Criterion.AVAILABILITY: "disponibilità",
        Criterion.COMMUTE: "tragitto",
        Criterion.SIGNALS: "segnali",
        Criterion.KEYWORDS_WANTED: "parole cercate",
        Criterion.KEYWORDS_UNWANTED: "parole escluse",
    },
    flags={
        ListingFlag.RENT_IMPLAUSIBLY_LOW: "canone molto basso",
        ListingFlag.RENT_IMPLAUSIBLY_HIGH: "canone molto alto",
        ListingFlag.RENT_ON_REQUEST: "canone su richiesta",
        ListingFlag.RENT_NOT_MONTHLY: "canone non mensile",
        ListingFlag.COMUNE_UNKNOWN: "comune",
        ListingFlag.AREA_IMPLAUSIBLE: "superficie",
    },
    signals={
        Signal.RENT_FAR_BELOW_ZONE: "canone molto sotto la zona (Agenzia Entrate – OMI, 2018)",
        Signal.RENT_FAR_ABOVE_ZONE: "canone molto sopra la zona (Agenzia Entrate – OMI, 2018)",
        Signal.SCAM_SIGNS: "⚠️ possibile truffa: non pagare prima di una visita",
    },
    direct={
        DirectPurpose.TEST: "✅ Messaggio di prova: gli avvisi arriveranno qui.",
        DirectPurpose.LINKED: "✅ Numero collegato. Gli annunci adatti alle tue ricerche arriveranno qui. "
        "Scrivi STOP per non riceverne più.",
        DirectPurpose.STOPPED: "Non riceverai più avvisi. Scrivi START per riprendere.",
        DirectPurpose.STARTED: "✅ Gli avvisi sono di nuovo attivi. Scrivi STOP per non riceverne più.",
        DirectPurpose.CODE: "Il tuo codice ITA RENT, valido fino alle {until}:\n*{code}*\n"
        "Scrivilo nella pagina che te lo ha chiesto. Non lo aspettavi? Non darlo a nessuno, oppure rispondi STOP.",
        DirectPurpose.PAUSED: "⏸ In pausa fino a {until}. Gli annunci ancora validi arriveranno dopo. "
        "Scrivi START per riprendere subito.",
        DirectPurpose.PACE: "👌 D'ora in poi al massimo un messaggio in {interval}. "
        "Scrivi MENO per riceverne meno, PIÙ per riceverne di più.",
        DirectPurpose.SAVED: "💾 Salvato: *{title}*\nI tuoi annunci salvati: {link}",
        DirectPurpose.DECLINED: "👌 Non ti scriverò più di *{title}*.",
        DirectPurpose.WHICH: "Quale? L'ultimo messaggio ha {choices}: scrivi il numero, per esempio *{example}*",
        DirectPurpose.NOTHING_TOLD: "Non ti ho ancora mandato annunci. Appena ce n'è uno adatto, arriva qui.",
        DirectPurpose.HELP: "Sono un programma, ma capisco:\n"
        "*1*, *2*, *3* … i dettagli di un annuncio\n"
        "*PERCHÉ 1* perché te l'ho mandato\n"
        "*SALVA 1* per ritrovarlo\n"
        "*NO 1* per non vederlo mai più\n"
        "*MENO* o *PIÙ* messaggi\n"
        "*PAUSA 3* per tre giorni di silenzio\n"
        "*STOP* per non ricevere più nulla, *START* per riprendere",
    },
    reference="Rif. {reference}",
    answer_hint="Rispondi con un numero per i dettagli, AIUTO per il resto.",
    details_hint="Rispondi SALVA{number}, NO{number} o PERCHÉ{number}.",
    matches="Corrisponde a",
    wanted="cercavi: {wanted}",
    no_interval="👌 D'ora in poi ogni annuncio arriva subito. Scrivi MENO per riceverne di meno.",
)

ENGLISH: Final = Wording(
    found={"one": "{n} listing", "other": "{n} listings"},
    drops={"one": "{n} price drop", "other": "{n} price drops"},
    all_at_link="Details: {link}",
    rest_at_link="{found} found, {shown} here, {rest} at the link: {link}",
    more_searches="+{n}",
    dropped="↓ was {before}",
    returned="available again",
    gone="no longer available",
    rent_unknown="rent not stated",
    per_month="{amount}/month",
    per_square_metre="{amount}/m² a month",
    per_year="{amount}/year",
    spese_included=", charges included",
    spese_amount=" + {amount} charges",
    spese_extra=" + charges",
    spese_unknown=" (charges not stated)",
    rooms={"one": "{n} room", "other": "{n} rooms"},
    unknown="Not stated: {criteria}",
    doubtful="To be checked: {flags}",
    flat="Listing",
    property_types={
        PropertyType.APARTMENT: "Flat",
        PropertyType.STUDIO: "Studio",
        PropertyType.ATTICO: "Penthouse",
        PropertyType.MANSARDA: "Attic flat",
        PropertyType.LOFT: "Loft",
        PropertyType.VILLA: "Villa",
        PropertyType.TERRACED_HOUSE: "Terraced house",
        PropertyType.DETACHED_HOUSE: "Detached house",
        PropertyType.RUSTIC: "Country house",
        PropertyType.PALACE: "Building",
    },
    offerings={Offering.ROOM: "Room"},
    criteria={
        Criterion.STATUS: "status",
        Criterion.PLACE: "place",
        Criterion.SOURCE: "source",
        Criterion.RENT: "rent",
        Criterion.DEPOSIT: "deposit",
        Criterion.CONTRACT: "contract",
        Criterion.OFFERING: "room or whole flat",
        Criterion.PROPERTY_TYPE: "type",
        Criterion.ROOMS: "rooms",
        Criterion.BEDROOMS: "bedrooms",
        Criterion.BATHROOMS: "bathrooms",
        Criterion.AREA: "size",
        Criterion.FLOOR: "floor",
        Criterion.FURNISHING: "furniture",
        Criterion.FEATURES: "amenities",
        Criterion.ENERGY_CLASS: "energy class",
        Criterion.ADVERTISER: "advertiser",
        Criterion.AVAILABILITY: "availability",
        Criterion.COMMUTE: "commute",
        Criterion.SIGNALS: "signals",
        Criterion.KEYWORDS_WANTED: "wanted words",
        Criterion.KEYWORDS_UNWANTED: "unwanted words",
    },
    flags={
        ListingFlag.RENT_IMPLAUSIBLY_LOW: "very low rent",
        ListingFlag.RENT_IMPLAUSIBLY_HIGH: "very high rent",
        ListingFlag.RENT_ON_REQUEST: "rent on request",
        ListingFlag.RENT_NOT_MONTHLY: "rent not by the month",
        ListingFlag.COMUNE_UNKNOWN: "comune",
        ListingFlag.AREA_IMPLAUSIBLE: "size",
    },
    signals={
        Signal.RENT_FAR_BELOW_ZONE: "rent far below its zone (Agenzia Entrate – OMI, 2018)",
        Signal.RENT_FAR_ABOVE_ZONE: "rent far above its zone (Agenzia Entrate – OMI, 2018)",
        Signal.SCAM_SIGNS: "⚠️ signs of a scam: pay nothing before a visit",
    },
    direct={
        DirectPurpose.TEST: "✅ Test message: your alerts will arrive here.",
        DirectPurpose.LINKED: "✅ Number linked. Flats that fit your searches will arrive here. "
        "Write STOP to end that.",
        DirectPurpose.STOPPED: "You will get no more alerts. Write START to resume.",
        DirectPurpose.STARTED: "✅ Alerts are on again. Write STOP to end them.",
        DirectPurpose.CODE: "Your ITA RENT code, valid until {until}:\n*{code}*\n"
        "Type it where you were asked for it. You did not expect it? Give it to nobody, or answer STOP.",
        DirectPurpose.PAUSED: "⏸ Paused until {until}. What can still be had then comes after it. "
        "Write START to go on at once.",
        DirectPurpose.PACE: "👌 From now on at most one message in {interval}. "
        "Write FEWER to get fewer, MORE to get more.",
        DirectPurpose.SAVED: "💾 Saved: *{title}*\nYour saved listings: {link}",
        DirectPurpose.DECLINED: "👌 I will not write to you about *{title}* again.",
        DirectPurpose.WHICH: "Which one? The last message has {choices}: write the number, such as *{example}*",
        DirectPurpose.NOTHING_TOLD: "I have not sent you any listing yet. As soon as one fits, it comes here.",
        DirectPurpose.HELP: "I am a program, but I understand:\n"
        "*1*, *2*, *3* … a listing's details\n"
        "*WHY 1* why I sent it to you\n"
        "*SAVE 1* to find it again\n"
        "*NO 1* never to see it again\n"
        "*FEWER* or *MORE* messages\n"
        "*PAUSE 3* for three quiet days\n"
        "*STOP* to get nothing any more, *START* to resume",
    },
    reference="Ref. {reference}",
    answer_hint="Reply with a number for details, HELP for the rest.",
    details_hint="Reply SAVE{number}, NO{number} or WHY{number}.",
    matches="Matches",
    wanted="wanted: {wanted}",
    no_interval="👌 From now on each listing comes at once. Write FEWER to get fewer messages.",
)

RUSSIAN: Final = Wording(
    found={"one": "{n} объявление", "few": "{n} объявления", "many": "{n} объявлений", "other": "{n} объявления"},
    drops={"one": "{n} подешевело", "few": "{n} подешевели", "many": "{n} подешевело", "other": "{n} подешевело"},
    all_at_link="Подробности: {link}",
    rest_at_link="Найдено {found}, здесь {shown}, по ссылке ещё {rest}: {link}",
    more_searches="+{n}",
    dropped="↓ было {before}",
    returned="снова доступно",
    gone="больше недоступно",
    rent_unknown="цена не указана",
    per_month="{amount}/мес.",
    per_square_metre="{amount}/м² в месяц",
    per_year="{amount}/год",
    spese_included=", включая коммунальные (spese)",
    spese_amount=" + {amount} spese",
    spese_extra=" + spese",
    spese_unknown=" (spese не указаны)",
    rooms={"one": "{n} комната", "few": "{n} комнаты", "many": "{n} комнат", "other": "{n} комнаты"},
    unknown="Не указано: {criteria}",
    doubtful="Проверьте: {flags}",
    flat="Объявление",
    property_types={
        PropertyType.APARTMENT: "Квартира",
        PropertyType.STUDIO: "Студия",
        PropertyType.ATTICO: "Пентхаус",
        PropertyType.MANSARDA: "Мансарда",
        PropertyType.LOFT: "Лофт",
        PropertyType.VILLA: "Вилла",
        PropertyType.TERRACED_HOUSE: "Таунхаус",
        PropertyType.DETACHED_HOUSE: "Отдельный дом",
        PropertyType.RUSTIC: "Сельский дом",
        PropertyType.PALACE: "Здание",
    },
    offerings={Offering.ROOM: "Комната"},
    criteria={
        Criterion.STATUS: "статус",
        Criterion.PLACE: "место",
        Criterion.SOURCE: "источник",
        Criterion.RENT: "цена",
        Criterion.DEPOSIT: "залог",
        Criterion.CONTRACT: "договор",
        Criterion.OFFERING: "комната или квартира",
        Criterion.PROPERTY_TYPE: "тип",
        Criterion.ROOMS: "комнаты",
        Criterion.BEDROOMS: "спальни",
        Criterion.BATHROOMS: "ванные",
        Criterion.AREA: "площадь",
        Criterion.FLOOR: "этаж",
        Criterion.FURNISHING: "мебель",
        Criterion.FEATURES: "удобства",
        Criterion.ENERGY_CLASS: "энергокласс",
        Criterion.ADVERTISER: "кто сдаёт",
        Criterion.AVAILABILITY: "когда свободно",
        Criterion.COMMUTE: "дорога",
        Criterion.SIGNALS: "признаки",
        Criterion.KEYWORDS_WANTED: "нужные слова",
        Criterion.KEYWORDS_UNWANTED: "лишние слова",
    },
    flags={
        ListingFlag.RENT_IMPLAUSIBLY_LOW: "очень низкая цена",
        ListingFlag.RENT_IMPLAUSIBLY_HIGH: "очень высокая цена",
        ListingFlag.RENT_ON_REQUEST: "цена по запросу",
        ListingFlag.RENT_NOT_MONTHLY: "цена не за месяц",
        ListingFlag.COMUNE_UNKNOWN: "коммуна",
        ListingFlag.AREA_IMPLAUSIBLE: "площадь",
    },
    signals={
        Signal.RENT_FAR_BELOW_ZONE: "цена намного ниже зоны (Agenzia Entrate – OMI, 2018)",
        Signal.RENT_FAR_ABOVE_ZONE: "цена намного выше зоны (Agenzia Entrate – OMI, 2018)",
        Signal.SCAM_SIGNS: "⚠️ похоже на мошенничество: не платите до осмотра",
    },
    direct={
        DirectPurpose.TEST: "✅ Пробное сообщение: уведомления будут приходить сюда.",
        DirectPurpose.LINKED: "✅ Номер привязан. Подходящие квартиры будут приходить сюда. "
        "Напишите STOP, чтобы отказаться.",
        DirectPurpose.STOPPED: "Уведомлений больше не будет. Напишите START, чтобы возобновить.",
        DirectPurpose.STARTED: "✅ Уведомления снова включены. Напишите STOP, чтобы отказаться.",
        DirectPurpose.CODE: "Ваш код ITA RENT, действует до {until}:\n*{code}*\n"
        "Введите его там, где его просят. Не ждали? Никому его не сообщайте или ответьте STOP.",
        DirectPurpose.PAUSED: "⏸ Пауза до: {until}. То, что ещё будет актуально, придёт после неё. "
        "Напишите START, чтобы продолжить сразу.",
        DirectPurpose.PACE: "👌 Теперь не чаще одного сообщения за {interval}. "
        "Напишите МЕНЬШЕ, чтобы получать реже, БОЛЬШЕ — чаще.",
        DirectPurpose.SAVED: "💾 Сохранено: *{title}*\nВаши сохранённые объявления: {link}",
        DirectPurpose.DECLINED: "👌 Больше не напишу вам про *{title}*.",
        DirectPurpose.WHICH: "Какое? В последнем сообщении {choices}: напишите номер, например *{example}*",
        DirectPurpose.NOTHING_TOLD: "Я ещё не присылал вам объявлений. Как только найдётся подходящее, "
        "оно придёт сюда.",
        DirectPurpose.HELP: "Я программа, но понимаю:\n"
        "*1*, *2*, *3* … — подробности объявления\n"
        "*ПОЧЕМУ 1* — почему оно пришло\n"
        "*СОХРАНИТЬ 1* — чтобы найти его снова\n"
        "*НЕТ 1* — больше никогда не показывать\n"
        "*МЕНЬШЕ* или *БОЛЬШЕ* сообщений\n"
        "*ПАУЗА 3* — три дня тишины\n"
        "*STOP* — больше ничего не присылать, *START* — продолжить",
    },
    reference="№ {reference}",
    answer_hint="Ответьте номером, чтобы узнать подробности, или ПОМОЩЬ.",
    details_hint="Ответьте СОХРАНИТЬ{number}, НЕТ{number} или ПОЧЕМУ{number}.",
    matches="Подходит под",
    wanted="нужно: {wanted}",
    no_interval="👌 Теперь каждое объявление приходит сразу. Напишите МЕНЬШЕ, чтобы получать реже.",
)

WORDINGS: Final[Mapping[Language, Wording]] = {
    Language.ITALIAN: ITALIAN,
    Language.ENGLISH: ENGLISH,
    Language.RUSSIAN: RUSSIAN,
}
