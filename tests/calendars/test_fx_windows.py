"""When foreign currency may be converted (A5.1a, A6.4b, Q4).

Every expected instant was written down by hand: from the State Council's notices for 2024 and 2026, Hong Kong's gazette
of general holidays for 2026, the days on which the Federal Reserve Banks are shut, and the list of Japan's Cabinet
Office. The desk of HBRB deals from 09:30 to 16:30 and is shut on every weekend; that of WLWB from 09:00 to 11:30 and
from 13:30 to 16:00, on make-up days, too; the authority works from 09:00 to 17:00, on make-up days, too. Money is
good from the first day on, from its value date on, that the centre of its currency works.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from calendars.book import CalendarBook
from domain.business_time import business_date
from domain.calendars import LoadedCalendars
from domain.fx_planning import WaitsFor
from tests.calendars.fx_windows import RULES, closed, days, hours, windows
from tests.calendars.planned import NOTHING, shanghai, words

DESK: WaitsFor = "fx_desk_window"
AUTHORITY: WaitsFor = "fx_authority_window"
VALUE: WaitsFor = "value_date"
NOW = None
WEEK = (1, 2, 3, 4, 5)

Row = tuple[str, str, str | None, str, str, WaitsFor | None, str]
# currency, desk, value date, arrives at; opens at, waits for; why.
# fmt: off
_AN_ORDINARY_WEEK: list[Row] = [
    ("USD", "HBRB", None, "2026-03-10 08:59:59", "2026-03-10 09:30:00", DESK, "before anybody opens"),
    ("USD", "HBRB", None, "2026-03-10 09:00:01", "2026-03-10 09:30:00", DESK, "the authority is open, the desk is not"),
    ("USD", "HBRB", None, "2026-03-10 09:29:59", "2026-03-10 09:30:00", DESK, "one second before the desk opens"),
    ("USD", "HBRB", None, "2026-03-10 09:30:00", "2026-03-10 09:30:00", NOW, "the first moment of the desk"),
    ("USD", "HBRB", None, "2026-03-10 09:30:01", "2026-03-10 09:30:01", NOW, "one second after the desk opens"),
    ("USD", "HBRB", None, "2026-03-10 16:29:59", "2026-03-10 16:29:59", NOW, "one second before the desk closes"),
    ("USD", "HBRB", None, "2026-03-10 16:30:00", "2026-03-11 09:30:00", DESK, "the moment of closing is too late"),
    ("USD", "HBRB", None, "2026-03-10 16:30:01", "2026-03-11 09:30:00", DESK, "one second after the desk closes"),
    ("USD", "HBRB", None, "2026-03-10 16:59:59", "2026-03-11 09:30:00", DESK, "the authority is open, the desk is not"),
    ("USD", "HBRB", None, "2026-03-10 17:00:01", "2026-03-11 09:30:00", DESK, "after the authority closes"),
    ("USD", "HBRB", None, "2026-03-10 23:59:59", "2026-03-11 09:30:00", DESK, "the last second of a day"),
    ("USD", "HBRB", None, "2026-03-11 00:00:00", "2026-03-11 09:30:00", DESK, "midnight"),
    ("USD", "HBRB", None, "2026-03-11 00:00:01", "2026-03-11 09:30:00", DESK, "the first second of a day"),
    ("USD", "WLWB", None, "2026-03-10 08:59:59", "2026-03-10 09:00:00", DESK, "desk and authority open together"),
    ("USD", "WLWB", None, "2026-03-10 09:00:00", "2026-03-10 09:00:00", NOW, "both have just opened"),
    ("USD", "WLWB", None, "2026-03-10 09:00:01", "2026-03-10 09:00:01", NOW, "one second after both open"),
    ("USD", "WLWB", None, "2026-03-10 11:29:59", "2026-03-10 11:29:59", NOW, "one second before lunch"),
    ("USD", "WLWB", None, "2026-03-10 11:30:00", "2026-03-10 13:30:00", DESK, "lunch"),
    ("USD", "WLWB", None, "2026-03-10 11:30:01", "2026-03-10 13:30:00", DESK, "one second after lunch began"),
    ("USD", "WLWB", None, "2026-03-10 13:29:59", "2026-03-10 13:30:00", DESK, "one second before lunch is over"),
    ("USD", "WLWB", None, "2026-03-10 13:30:00", "2026-03-10 13:30:00", NOW, "lunch is over"),
    ("USD", "WLWB", None, "2026-03-10 13:30:01", "2026-03-10 13:30:01", NOW, "one second after lunch"),
    ("USD", "WLWB", None, "2026-03-10 15:59:59", "2026-03-10 15:59:59", NOW, "one second before the desk closes"),
    ("USD", "WLWB", None, "2026-03-10 16:00:00", "2026-03-11 09:00:00", DESK, "the desk is closed"),
    ("USD", "WLWB", None, "2026-03-10 16:00:01", "2026-03-11 09:00:00", DESK, "one second after the desk closes"),
    ("USD", "HBRB", None, "2026-03-13 16:29:59", "2026-03-13 16:29:59", NOW, "the last second of a week"),
    ("USD", "HBRB", None, "2026-03-13 16:30:00", "2026-03-16 09:30:00", DESK, "Friday evening"),
    ("USD", "HBRB", None, "2026-03-14 12:00:00", "2026-03-16 09:30:00", DESK, "an ordinary Saturday"),
    ("USD", "WLWB", None, "2026-03-14 10:00:00", "2026-03-16 09:00:00", DESK, "a Saturday that nobody makes up"),
    ("HKD", "HBRB", None, "2026-03-15 23:59:59", "2026-03-16 09:30:00", DESK, "an ordinary Sunday"),
    ("JPY", "HBRB", None, "2026-03-16 09:29:59", "2026-03-16 09:30:00", DESK, "Monday before the desk opens"),
]
_THE_MAINLANDS_HOLIDAYS: list[Row] = [
    # New Year: 1 to 3 January, Sunday 4 January is worked.
    ("USD", "HBRB", None, "2025-12-31 16:29:59", "2025-12-31 16:29:59", NOW, "the last second of the year"),
    ("USD", "HBRB", None, "2025-12-31 16:30:00", "2026-01-05 09:30:00", DESK, "the desk does not work the Sunday"),
    ("USD", "HBRB", None, "2025-12-31 23:59:59", "2026-01-05 09:30:00", DESK, "across the year end"),
    ("USD", "HBRB", None, "2026-01-01 00:00:00", "2026-01-05 09:30:00", DESK, "the first moment of the year"),
    ("USD", "WLWB", None, "2025-12-31 16:00:00", "2026-01-04 09:00:00", DESK, "this desk works the Sunday"),
    ("USD", "WLWB", None, "2026-01-04 08:59:59", "2026-01-04 09:00:00", DESK, "it opens as on a Monday"),
    ("USD", "WLWB", None, "2026-01-04 11:30:00", "2026-01-04 13:30:00", DESK, "it has lunch as on a Monday"),
    ("USD", "WLWB", None, "2026-01-04 16:00:00", "2026-01-05 09:00:00", DESK, "it closes as on a Monday"),
    ("USD", "HBRB", None, "2026-01-04 10:00:00", "2026-01-05 09:30:00", DESK, "the authority works, the desk does not"),
    ("USD", "WLWB", None, "2026-01-04 10:00:00", "2026-01-04 10:00:00", NOW, "that America has a Sunday is no matter"),
    # Spring Festival: 15 to 23 February; the Saturdays 14 and 28 February are worked.
    ("USD", "HBRB", None, "2026-02-13 16:29:59", "2026-02-13 16:29:59", NOW, "the last second before the holiday"),
    ("USD", "HBRB", None, "2026-02-13 16:30:00", "2026-02-24 09:30:00", DESK, "not on the Saturday"),
    ("USD", "WLWB", None, "2026-02-13 16:00:00", "2026-02-14 09:00:00", DESK, "on the Saturday"),
    ("USD", "WLWB", None, "2026-02-14 15:59:59", "2026-02-14 15:59:59", NOW, "the last second of the Saturday"),
    ("USD", "WLWB", None, "2026-02-14 16:00:00", "2026-02-24 09:00:00", DESK, "after the holiday"),
    ("USD", "HBRB", None, "2026-02-14 10:00:00", "2026-02-24 09:30:00", DESK, "shut on the Saturday"),
    ("HKD", "HBRB", None, "2026-02-20 10:00:00", "2026-02-24 09:30:00", DESK, "Hong Kong works, the mainland does not"),
    ("JPY", "HBRB", None, "2026-02-17 10:00:00", "2026-02-24 09:30:00", DESK, "Japan works, the mainland does not"),
    ("USD", "HBRB", None, "2026-02-23 23:59:59", "2026-02-24 09:30:00", DESK, "the last second of the holiday"),
    ("USD", "HBRB", None, "2026-02-24 09:29:59", "2026-02-24 09:30:00", DESK, "the first working day"),
    ("USD", "WLWB", None, "2026-02-27 16:00:00", "2026-02-28 09:00:00", DESK, "the second Saturday"),
    ("USD", "HBRB", None, "2026-02-27 16:30:00", "2026-03-02 09:30:00", DESK, "not on the second Saturday"),
    # Tomb-Sweeping Day: 4 to 6 April.
    ("USD", "HBRB", None, "2026-04-03 16:29:59", "2026-04-03 16:29:59", NOW, "Good Friday is worked in America"),
    ("USD", "HBRB", None, "2026-04-03 16:30:00", "2026-04-07 09:30:00", DESK, "over the holiday"),
    ("USD", "WLWB", None, "2026-04-06 10:00:00", "2026-04-07 09:00:00", DESK, "on the holiday"),
    # Labour Day: 1 to 5 May, Saturday 9 May is worked.
    ("USD", "HBRB", None, "2026-04-30 16:29:59", "2026-04-30 16:29:59", NOW, "the last second before the holiday"),
    ("USD", "HBRB", None, "2026-04-30 16:30:00", "2026-05-06 09:30:00", DESK, "over the holiday"),
    ("USD", "WLWB", None, "2026-05-08 16:00:00", "2026-05-09 09:00:00", DESK, "the Saturday is worked"),
    ("USD", "HBRB", None, "2026-05-08 16:30:00", "2026-05-11 09:30:00", DESK, "and not by this desk"),
    ("USD", "WLWB", None, "2026-05-09 13:30:01", "2026-05-09 13:30:01", NOW, "one second after its lunch"),
    # Dragon Boat Festival: 19 to 21 June.
    ("USD", "HBRB", None, "2026-06-18 16:29:59", "2026-06-18 16:29:59", NOW, "the last second before the holiday"),
    ("USD", "HBRB", None, "2026-06-18 16:30:00", "2026-06-22 09:30:00", DESK, "over the holiday"),
    ("JPY", "HBRB", None, "2026-06-19 10:00:00", "2026-06-22 09:30:00", DESK, "Japan works, the mainland does not"),
    # Mid-Autumn: 25 to 27 September, Sunday 20 September is worked.
    ("USD", "WLWB", None, "2026-09-18 16:00:00", "2026-09-20 09:00:00", DESK, "not on Saturday, but on Sunday"),
    ("USD", "WLWB", None, "2026-09-19 12:00:00", "2026-09-20 09:00:00", DESK, "the Saturday before is not worked"),
    ("USD", "WLWB", None, "2026-09-20 16:00:00", "2026-09-21 09:00:00", DESK, "and Monday follows"),
    ("USD", "HBRB", None, "2026-09-20 10:00:00", "2026-09-21 09:30:00", DESK, "this desk waits for Monday"),
    ("USD", "HBRB", None, "2026-09-24 16:29:59", "2026-09-24 16:29:59", NOW, "the last second before the holiday"),
    ("USD", "HBRB", None, "2026-09-24 16:30:00", "2026-09-28 09:30:00", DESK, "over the holiday"),
    # National Day: 1 to 7 October, Saturday 10 October is worked.
    ("USD", "HBRB", None, "2026-09-30 16:29:59", "2026-09-30 16:29:59", NOW, "the last second before the holiday"),
    ("USD", "HBRB", None, "2026-09-30 16:30:00", "2026-10-08 09:30:00", DESK, "over the holiday"),
    ("USD", "WLWB", None, "2026-09-30 15:59:59", "2026-09-30 15:59:59", NOW, "the last second before the holiday"),
    ("USD", "WLWB", None, "2026-09-30 16:00:00", "2026-10-08 09:00:00", DESK, "over the holiday"),
    ("HKD", "HBRB", None, "2026-10-07 23:59:59", "2026-10-08 09:30:00", DESK, "the last second of the holiday"),
    ("USD", "WLWB", None, "2026-10-09 16:00:00", "2026-10-10 09:00:00", DESK, "the Saturday is worked"),
    ("USD", "WLWB", None, "2026-10-10 16:00:00", "2026-10-12 09:00:00", DESK, "after the Saturday"),
    ("USD", "HBRB", None, "2026-10-09 16:30:00", "2026-10-12 09:30:00", DESK, "and not by this desk"),
]
_THE_CENTRES_HOLIDAYS: list[Row] = [
    # The Federal Reserve Banks. New Year and Juneteenth are holidays of the mainland, too.
    ("USD", "HBRB", "2026-01-19", "2026-01-16 16:30:00", "2026-01-20 09:30:00", VALUE, "Martin Luther King's Birthday"),
    ("USD", "WLWB", "2026-05-25", "2026-05-22 16:00:00", "2026-05-26 09:00:00", VALUE, "Memorial Day"),
    ("USD", "HBRB", "2026-05-25", "2026-05-25 09:30:00", "2026-05-26 09:30:00", VALUE, "all day long on Memorial Day"),
    ("USD", "HBRB", "2026-05-25", "2026-05-25 16:30:00", "2026-05-26 09:30:00", DESK, "the offices have closed"),
    ("USD", "HBRB", "2026-05-22", "2026-05-25 09:30:00", "2026-05-25 09:30:00", NOW, "good since the Friday before"),
    ("USD", "HBRB", None, "2026-05-25 09:30:00", "2026-05-25 09:30:00", NOW, "a balance that is there"),
    ("USD", "HBRB", "2026-07-03", "2026-07-03 10:00:00", "2026-07-03 10:00:00", NOW, "a Saturday's shuts no Friday"),
    ("USD", "HBRB", "2026-09-07", "2026-09-04 16:30:00", "2026-09-08 09:30:00", VALUE, "Labor Day"),
    ("USD", "HBRB", "2026-10-12", "2026-10-09 16:30:00", "2026-10-13 09:30:00", VALUE, "Columbus Day"),
    ("USD", "WLWB", "2026-10-10", "2026-10-10 10:00:00", "2026-10-13 09:00:00", VALUE, "a worked Saturday before it"),
    ("USD", "WLWB", "2026-10-09", "2026-10-09 16:00:00", "2026-10-10 09:00:00", DESK, "good, and on the Saturday"),
    ("USD", "HBRB", "2026-10-09", "2026-10-09 16:30:00", "2026-10-12 09:30:00", DESK, "good, and on Columbus Day"),
    ("USD", "HBRB", "2026-11-11", "2026-11-10 16:30:00", "2026-11-12 09:30:00", VALUE, "Veterans Day"),
    ("USD", "WLWB", "2026-11-26", "2026-11-26 09:00:00", "2026-11-27 09:00:00", VALUE, "Thanksgiving"),
    ("USD", "HBRB", "2026-12-25", "2026-12-24 16:30:00", "2026-12-28 09:30:00", VALUE, "Christmas"),
    ("USD", "HBRB", "2027-07-05", "2027-07-02 16:30:00", "2027-07-06 09:30:00", VALUE, "a Sunday's shuts the Monday"),
    ("USD", "HBRB", "2027-12-24", "2027-12-24 10:00:00", "2027-12-24 10:00:00", NOW, "Christmas is a Saturday"),
    # Hong Kong.
    ("HKD", "HBRB", "2026-04-02", "2026-04-02 16:29:59", "2026-04-02 16:29:59", NOW, "the last second before Easter"),
    ("HKD", "HBRB", "2026-04-02", "2026-04-02 16:30:00", "2026-04-03 09:30:00", DESK, "good, and on Good Friday"),
    ("HKD", "HBRB", "2026-04-02", "2026-04-07 10:00:00", "2026-04-07 10:00:00", NOW, "good, and on Easter Tuesday"),
    ("HKD", "HBRB", "2026-04-03", "2026-04-02 16:30:00", "2026-04-08 09:30:00", VALUE, "Good Friday to Easter Tuesday"),
    ("HKD", "HBRB", "2026-04-03", "2026-04-07 09:30:00", "2026-04-08 09:30:00", VALUE, "the mainland works already"),
    ("HKD", "HBRB", "2026-04-03", "2026-04-07 23:59:59", "2026-04-08 09:30:00", DESK, "one second before it is good"),
    ("HKD", "HBRB", "2026-05-25", "2026-05-22 16:30:00", "2026-05-26 09:30:00", VALUE, "the Buddha's Birthday"),
    ("HKD", "HBRB", "2026-07-01", "2026-06-30 16:30:00", "2026-07-02 09:30:00", VALUE, "Establishment Day"),
    ("HKD", "HBRB", "2026-06-30", "2026-07-01 10:00:00", "2026-07-01 10:00:00", NOW, "good since the day before"),
    ("HKD", "HBRB", "2026-10-12", "2026-10-09 16:30:00", "2026-10-12 09:30:00", DESK, "Columbus is nobody there"),
    ("HKD", "HBRB", "2026-10-19", "2026-10-16 16:30:00", "2026-10-20 09:30:00", VALUE, "Double Ninth on Monday"),
    ("HKD", "HBRB", "2026-12-25", "2026-12-25 10:00:00", "2026-12-28 09:30:00", VALUE, "Christmas"),
    # Japan, whose banks are shut from 31 December to 3 January.
    ("JPY", "HBRB", "2025-12-31", "2025-12-31 10:00:00", "2026-01-05 09:30:00", VALUE, "the year ends a day earlier"),
    ("JPY", "HBRB", "2026-01-12", "2026-01-12 10:00:00", "2026-01-13 09:30:00", VALUE, "Coming of Age Day"),
    ("JPY", "HBRB", "2026-02-11", "2026-02-10 16:30:00", "2026-02-12 09:30:00", VALUE, "Foundation Day"),
    ("JPY", "HBRB", "2026-03-20", "2026-03-19 16:30:00", "2026-03-23 09:30:00", VALUE, "the equinox on a Friday"),
    ("JPY", "HBRB", "2026-04-29", "2026-04-28 16:30:00", "2026-04-30 09:30:00", VALUE, "Showa Day"),
    ("JPY", "HBRB", "2026-05-04", "2026-04-30 16:30:00", "2026-05-07 09:30:00", VALUE, "Japan's Golden Week is longer"),
    ("JPY", "HBRB", "2026-05-01", "2026-04-30 16:30:00", "2026-05-06 09:30:00", DESK, "good before, so in its midst"),
    ("JPY", "HBRB", "2026-07-20", "2026-07-17 16:30:00", "2026-07-21 09:30:00", VALUE, "Marine Day"),
    ("JPY", "HBRB", "2026-08-11", "2026-08-11 09:30:00", "2026-08-12 09:30:00", VALUE, "Mountain Day"),
    ("JPY", "HBRB", "2026-09-21", "2026-09-18 16:30:00", "2026-09-24 09:30:00", VALUE, "three holidays from Monday on"),
    ("JPY", "HBRB", "2026-09-18", "2026-09-18 16:30:00", "2026-09-21 09:30:00", DESK, "good before, and on the first"),
    ("JPY", "HBRB", "2026-09-25", "2026-09-24 16:30:00", "2026-09-28 09:30:00", DESK, "in the mainland's holiday"),
    ("JPY", "HBRB", "2026-11-03", "2026-11-03 12:00:00", "2026-11-04 09:30:00", VALUE, "Culture Day"),
    ("JPY", "HBRB", "2026-11-23", "2026-11-20 16:30:00", "2026-11-24 09:30:00", VALUE, "Labour Thanksgiving Day"),
    ("JPY", "HBRB", "2026-12-25", "2026-12-25 10:00:00", "2026-12-25 10:00:00", NOW, "Japan works at Christmas"),
]
_THE_VALUE_DATE: list[Row] = [
    ("USD", "HBRB", "2026-03-10", "2026-03-10 10:00:00", "2026-03-10 10:00:00", NOW, "today"),
    ("USD", "HBRB", "2026-03-10", "2026-03-10 00:00:00", "2026-03-10 09:30:00", DESK, "from midnight on"),
    ("USD", "HBRB", "2026-03-11", "2026-03-10 10:00:00", "2026-03-11 09:30:00", VALUE, "tomorrow"),
    ("USD", "HBRB", "2026-03-11", "2026-03-10 16:30:00", "2026-03-11 09:30:00", DESK, "tomorrow, and closed for today"),
    ("USD", "HBRB", "2026-03-11", "2026-03-10 23:59:59", "2026-03-11 09:30:00", DESK, "one second before it"),
    ("USD", "WLWB", "2026-03-12", "2026-03-10 10:00:00", "2026-03-12 09:00:00", VALUE, "the day after tomorrow"),
    ("USD", "HBRB", "2026-03-14", "2026-03-13 10:00:00", "2026-03-16 09:30:00", VALUE, "a Saturday"),
    ("USD", "WLWB", "2026-05-09", "2026-05-08 10:00:00", "2026-05-11 09:00:00", VALUE, "a Saturday worked only here"),
    ("USD", "HBRB", "2026-05-09", "2026-05-09 10:00:00", "2026-05-11 09:30:00", DESK, "where the desk is shut on it"),
    ("USD", "WLWB", "2026-05-08", "2026-05-09 10:00:00", "2026-05-09 10:00:00", NOW, "good before it"),
    ("USD", "HBRB", "2026-05-08", "2026-05-09 10:00:00", "2026-05-11 09:30:00", DESK, "and the desk is shut on it"),
    ("USD", "HBRB", "2026-10-05", "2026-09-30 10:00:00", "2026-10-08 09:30:00", VALUE, "in the mainland's holiday"),
    ("USD", "HBRB", "2026-10-05", "2026-09-30 16:30:00", "2026-10-08 09:30:00", DESK, "the offices have closed"),
    ("USD", "HBRB", "2026-10-08", "2026-09-30 10:00:00", "2026-10-08 09:30:00", VALUE, "the first day after it"),
    ("USD", "HBRB", "2026-02-20", "2026-02-13 10:00:00", "2026-02-24 09:30:00", VALUE, "in Spring Festival"),
]
_A_LEAP_DAY: list[Row] = [
    ("USD", "HBRB", None, "2024-02-28 16:30:00", "2024-02-29 09:30:00", DESK, "29 February is a Thursday"),
    ("USD", "HBRB", None, "2024-02-29 09:29:59", "2024-02-29 09:30:00", DESK, "one second before the desk opens"),
    ("USD", "HBRB", None, "2024-02-29 09:30:01", "2024-02-29 09:30:01", NOW, "one second after it opens"),
    ("USD", "HBRB", None, "2024-02-29 16:29:59", "2024-02-29 16:29:59", NOW, "one second before it closes"),
    ("USD", "HBRB", None, "2024-02-29 16:30:01", "2024-03-01 09:30:00", DESK, "and then comes March"),
    ("USD", "HBRB", None, "2024-02-29 23:59:59", "2024-03-01 09:30:00", DESK, "the last second of February"),
    ("USD", "WLWB", None, "2024-02-29 11:30:00", "2024-02-29 13:30:00", DESK, "lunch"),
    ("USD", "HBRB", "2024-02-29", "2024-02-27 10:00:00", "2024-02-29 09:30:00", VALUE, "a value date"),
    ("USD", "WLWB", None, "2024-02-17 12:00:00", "2024-02-18 09:00:00", DESK, "Sunday 18 February 2024 is worked"),
]
# Nobody has published the mainland's 2027; that its year begins with a holiday is the law.
_AN_UNPUBLISHED_YEAR: list[Row] = [
    ("USD", "HBRB", None, "2026-12-31 16:30:00", "2027-01-04 09:30:00", DESK, "New Year is a Friday"),
    ("USD", "HBRB", None, "2026-12-31 23:59:59", "2027-01-04 09:30:00", DESK, "the last second of the year"),
    ("USD", "HBRB", None, "2027-01-01 00:00:00", "2027-01-04 09:30:00", DESK, "the first second of the year"),
    ("USD", "WLWB", None, "2026-12-31 16:00:00", "2027-01-04 09:00:00", DESK, "a make-up day is not known of"),
    ("HKD", "HBRB", None, "2026-12-31 16:30:00", "2027-01-04 09:30:00", DESK, "so it is in Hong Kong"),
    ("JPY", "HBRB", "2026-12-31", "2026-12-31 10:00:00", "2027-01-04 09:30:00", VALUE, "the year ends a day earlier"),
    ("USD", "HBRB", "2027-01-01", "2026-12-30 10:00:00", "2027-01-04 09:30:00", VALUE, "a value date of next year"),
    ("USD", "HBRB", None, "2027-01-04 16:30:00", "2027-01-05 09:30:00", DESK, "in the midst of it"),
]
_PUBLISHED = [*_AN_ORDINARY_WEEK, *_THE_MAINLANDS_HOLIDAYS, *_THE_VALUE_DATE, *_A_LEAP_DAY]

Change = tuple[LoadedCalendars, str, str, str | None, str, str, WaitsFor | None, str]
_AT_NOON = closed("FX-HBRB", "2026-03-10 12:00:00", "2026-03-10 14:00:00")
_OVERNIGHT = closed("FX-HBRB", "2026-03-10 16:00:00", "2026-03-11 10:00:00")
_NO_AUTHORITY = closed("FX-SAFE", "2026-03-10 10:00:00", "2026-03-10 15:00:00")
_SHORTER = hours("FX-HBRB", (WEEK, "10:00", "12:00"), (WEEK, "12:00", "15:00"))
_SATURDAYS = hours("FX-WLWB", (WEEK, "09:00", "16:00"), ((6,), "10:00", "12:00"))
_LATE_AUTHORITY = hours("FX-SAFE", (WEEK, "11:00", "16:00"))
_ALL_DAY = LoadedCalendars(
    1, hours={code: hours(code, (WEEK, "00:00", "23:59")).hours[code] for code in RULES.office_codes}
)
_LOADED: list[Change] = [
    # Closures.
    (_AT_NOON, "USD", "HBRB", None, "2026-03-10 11:59:59", "2026-03-10 11:59:59", NOW, "one second before the closure"),
    (_AT_NOON, "USD", "HBRB", None, "2026-03-10 12:00:00", "2026-03-10 14:00:00", DESK, "the desk is closed at noon"),
    (_AT_NOON, "USD", "HBRB", None, "2026-03-10 13:59:59", "2026-03-10 14:00:00", DESK, "its last second"),
    (_AT_NOON, "USD", "HBRB", None, "2026-03-10 14:00:00", "2026-03-10 14:00:00", NOW, "it is over"),
    (_AT_NOON, "USD", "WLWB", None, "2026-03-10 13:30:00", "2026-03-10 13:30:00", NOW, "the other desk is not closed"),
    (_OVERNIGHT, "USD", "HBRB", None, "2026-03-10 15:59:59", "2026-03-10 15:59:59", NOW, "one second before it"),
    (_OVERNIGHT, "USD", "HBRB", None, "2026-03-10 16:00:00", "2026-03-11 10:00:00", DESK, "across midnight"),
    (_NO_AUTHORITY, "USD", "HBRB", None, "2026-03-10 09:59:59", "2026-03-10 09:59:59", NOW, "one second before it"),
    (_NO_AUTHORITY, "USD", "HBRB", None, "2026-03-10 10:00:00", "2026-03-10 15:00:00", AUTHORITY, "no desk without it"),
    (_NO_AUTHORITY, "USD", "WLWB", None, "2026-03-10 14:59:59", "2026-03-10 15:00:00", AUTHORITY, "at no desk"),
    (closed("FX-SAFE", "2026-03-13 00:00:00", "2026-03-16 12:00:00"),
        "USD", "HBRB", None, "2026-03-13 10:00:00", "2026-03-16 12:00:00", AUTHORITY, "over a weekend"),
    (closed("HBRB", "2026-03-10 00:00:00", "2026-03-12 00:00:00"),
        "USD", "HBRB", None, "2026-03-10 10:00:00", "2026-03-10 10:00:00", NOW, "the bank is closed, its desk is not"),
    # Hours: they replace those of the file.
    (_SHORTER, "USD", "HBRB", None, "2026-03-10 09:59:59", "2026-03-10 10:00:00", DESK, "it opens later"),
    (_SHORTER, "USD", "HBRB", None, "2026-03-10 12:00:00", "2026-03-10 12:00:00", NOW, "a break of no length is none"),
    (_SHORTER, "USD", "HBRB", None, "2026-03-10 14:59:59", "2026-03-10 14:59:59", NOW, "one second before it closes"),
    (_SHORTER, "USD", "HBRB", None, "2026-03-10 15:00:00", "2026-03-11 10:00:00", DESK, "it closes earlier"),
    (_SATURDAYS, "USD", "WLWB", None, "2026-05-09 09:59:59", "2026-05-09 10:00:00", DESK, "its own hours on Saturday"),
    (_SATURDAYS, "USD", "WLWB", None, "2026-05-09 12:00:00", "2026-05-11 09:00:00", DESK, "until noon"),
    (_SATURDAYS, "USD", "WLWB", None, "2026-05-16 10:00:00", "2026-05-18 09:00:00", DESK, "hours make no working day"),
    (_SATURDAYS, "USD", "WLWB", None, "2026-09-20 08:59:59", "2026-09-20 09:00:00", DESK, "the Sunday has Monday's"),
    (_LATE_AUTHORITY, "USD", "HBRB", None, "2026-03-10 09:30:00", "2026-03-10 11:00:00", AUTHORITY, "it opens later"),
    (_LATE_AUTHORITY, "USD", "HBRB", None, "2026-03-10 15:59:59", "2026-03-10 15:59:59", NOW, "its last second"),
    (_LATE_AUTHORITY, "USD", "HBRB", None, "2026-03-10 16:00:00", "2026-03-11 11:00:00", AUTHORITY, "it closes first"),
    (_ALL_DAY, "USD", "HBRB", "2026-03-11", "2026-03-10 23:58:59", "2026-03-11 00:00:00", VALUE, "from midnight on"),
    # Days.
    (days("FX-HBRB", d2026_10_10=True), "USD", "HBRB", None, "2026-10-09 16:30:00", "2026-10-10 09:30:00", DESK,
        "its own word lets a desk work on a weekend"),
    (days("FX-HBRB", d2026_10_10=True), "USD", "HBRB", "2026-10-10", "2026-10-09 16:30:00", "2026-10-13 09:30:00",
        VALUE, "and makes no dollars good"),
    (days("FX-WLWB", d2026_10_10=False), "USD", "WLWB", None, "2026-10-09 16:00:00", "2026-10-12 09:00:00", DESK,
        "its own word shuts a desk on a make-up day"),
    (days("FX-SAFE", d2026_03_11=False), "USD", "HBRB", None, "2026-03-10 17:00:00", "2026-03-12 09:30:00", AUTHORITY,
        "the authority has a day off"),
    (days("WLWB", d2026_10_10=False), "USD", "WLWB", None, "2026-10-10 10:00:00", "2026-10-10 10:00:00", NOW,
        "a day off of the bank's is not one of its desk's"),
    (days("CN", d2026_03_14=True), "USD", "WLWB", None, "2026-03-13 16:00:00", "2026-03-14 09:00:00", DESK,
        "a Saturday that is made up all of a sudden"),
    (days("CN", d2026_03_14=True), "USD", "HBRB", None, "2026-03-13 16:30:00", "2026-03-16 09:30:00", DESK,
        "and never counts at this desk"),
    (days("CN", d2026_03_11=False), "USD", "HBRB", None, "2026-03-10 16:30:00", "2026-03-12 09:30:00", DESK,
        "an extra holiday of the mainland"),
    (days("US", d2026_03_11=False), "USD", "HBRB", "2026-03-11", "2026-03-10 16:30:00", "2026-03-12 09:30:00", VALUE,
        "a day of mourning in America"),
    (days("US", d2026_03_11=False), "USD", "HBRB", "2026-03-10", "2026-03-10 16:30:00", "2026-03-11 09:30:00", DESK,
        "which puts off nothing that is good already"),
    (days("US", d2026_05_09=True), "USD", "WLWB", "2026-05-09", "2026-05-08 16:00:00", "2026-05-09 09:00:00", DESK,
        "a Saturday that is worked in America for once"),
    (days("HK", d2026_07_22=False), "HKD", "HBRB", "2026-07-22", "2026-07-22 10:00:00", "2026-07-23 09:30:00", VALUE,
        "a typhoon"),
    (days("HK", d2026_07_22=False), "HKD", "HBRB", "2026-07-21", "2026-07-22 10:00:00", "2026-07-22 10:00:00", NOW,
        "a typhoon, and the money is good since the day before"),
]
# fmt: on


@pytest.mark.parametrize("row", [*_PUBLISHED, *_THE_CENTRES_HOLIDAYS, *_AN_UNPUBLISHED_YEAR])
def test_money_that_arrives_is_converted_when_it_is_good_and_both_offices_are_open(row: Row) -> None:
    currency, desk, value_date, arrives, opens, waits_for, why = row
    first = windows(currency, desk, value_date, arrives).first
    assert (words(first.opens_at), first.waits_for) == (opens, waits_for), why


@pytest.mark.parametrize("row", _LOADED)
def test_what_operators_loaded_for_an_office_or_a_centre_holds(row: Change) -> None:
    loaded, currency, desk, value_date, arrives, opens, waits_for, why = row
    first = windows(currency, desk, value_date, arrives, loaded).first
    assert (words(first.opens_at), first.waits_for) == (opens, waits_for), why


@pytest.mark.parametrize("row", _PUBLISHED)
def test_what_rests_on_published_years_is_not_provisional(row: Row) -> None:
    assert not windows(*row[:4]).first.provisional


@pytest.mark.parametrize(
    ("currency", "value_date", "arrives", "rests_on"),
    [
        ("USD", None, "2026-12-31 16:29:59", ()),
        ("USD", None, "2026-12-31 16:30:00", ("CN:2027",)),
        # A balance that is there, or that was good last year, does not rest on Hong Kong's new one.
        ("HKD", None, "2026-12-31 16:30:00", ("CN:2027",)),
        ("HKD", "2026-12-31", "2026-12-31 16:30:00", ("CN:2027",)),
        ("HKD", "2027-01-01", "2026-12-31 16:30:00", ("CN:2027", "HK:2027")),
        ("JPY", "2026-12-31", "2026-12-31 10:00:00", ("CN:2027",)),
        ("JPY", "2027-12-31", "2027-12-31 10:00:00", ("CN:2027", "CN:2028", "JP:2028")),
        ("USD", None, "2027-01-04 10:00:00", ("CN:2027",)),
    ],
)
def test_what_reaches_into_an_unpublished_year_is_provisional_and_says_why(
    currency: str, value_date: str | None, arrives: str, rests_on: tuple[str, ...]
) -> None:
    first = windows(currency, "HBRB", value_date, arrives).first
    assert (first.rests_on, first.provisional) == (rests_on, bool(rests_on))


def test_a_year_that_was_loaded_is_no_longer_provisional() -> None:
    stated = days("CN", d2027_01_01=False, d2027_01_04=False).days
    loaded = LoadedCalendars(1, days=stated, published={"CN": frozenset({2027})})
    first = windows("USD", "HBRB", None, "2026-12-31 16:30:00", loaded).first
    assert (words(first.opens_at), first.rests_on) == ("2027-01-05 09:30:00", ())


def test_the_windows_that_follow_say_what_each_of_them_waits_for() -> None:
    found = windows("USD", "WLWB", None, "2026-10-09 11:29:59").windows
    assert [(words(each.opens_at), words(each.closes_at), each.waits_for) for each in found] == [
        ("2026-10-09 11:29:59", "2026-10-09 11:30:00", NOW),
        ("2026-10-09 13:30:00", "2026-10-09 16:00:00", DESK),
        ("2026-10-10 09:00:00", "2026-10-10 11:30:00", DESK),
        ("2026-10-10 13:30:00", "2026-10-10 16:00:00", DESK),
        ("2026-10-12 09:00:00", "2026-10-12 11:30:00", DESK),
        ("2026-10-12 13:30:00", "2026-10-12 16:00:00", DESK),
        ("2026-10-13 09:00:00", "2026-10-13 11:30:00", DESK),
        ("2026-10-13 13:30:00", "2026-10-13 16:00:00", DESK),
    ]


def test_what_has_waited_for_its_value_date_does_not_wait_for_it_again() -> None:
    found = windows("USD", "WLWB", "2026-10-10", "2026-10-09 11:29:59").windows
    assert [(words(each.opens_at), each.waits_for) for each in found[:3]] == [
        ("2026-10-13 09:00:00", VALUE),
        ("2026-10-13 13:30:00", DESK),
        ("2026-10-14 09:00:00", DESK),
    ]


def test_a_window_ends_when_the_first_of_the_two_offices_closes() -> None:
    found = windows("USD", "HBRB", None, "2026-03-10 10:00:00", _LATE_AUTHORITY).windows
    assert [(words(each.opens_at), words(each.closes_at)) for each in found[:2]] == [
        ("2026-03-10 11:00:00", "2026-03-10 16:00:00"),
        ("2026-03-11 11:00:00", "2026-03-11 16:00:00"),
    ]


def test_the_table_holds_every_holiday_and_every_make_up_day_of_the_mainland() -> None:
    arrivals = {business_date(windows(*row[:4]).first.opens_at).isoformat() for row in _THE_MAINLANDS_HOLIDAYS}
    worked = {"2026-01-04", "2026-02-14", "2026-02-28", "2026-05-09", "2026-09-20", "2026-10-10"}
    first_days = {"2026-01-05", "2026-02-24", "2026-04-07", "2026-05-06", "2026-06-22", "2026-09-28", "2026-10-08"}
    assert worked | first_days <= arrivals


class _Loaded:
    """A source whose versions follow upon each other."""

    def __init__(self) -> None:
        self.versions = [NOTHING]

    async def current_version(self) -> int:
        return self.versions[-1].version

    async def loaded(self) -> LoadedCalendars:
        return self.versions[-1]


async def test_a_calendar_that_is_corrected_twice_is_followed_each_time() -> None:
    source = _Loaded()
    book = CalendarBook(source)

    async def planned() -> tuple[int, str, WaitsFor | None]:
        version, found = await book.plan_fx(RULES, "HBRB", "USD", None, shanghai("2026-09-30 16:30:00"))
        return version, words(found.first.opens_at), found.first.waits_for

    assert await planned() == (0, "2026-10-08 09:30:00", DESK)
    # A typhoon: the desk is shut on Thursday, too. Then not on Thursday, but on Friday.
    source.versions.append(replace(days("FX-HBRB", d2026_10_08=False), version=1))
    assert await planned() == (1, "2026-10-09 09:30:00", DESK)
    source.versions.append(replace(days("FX-HBRB", d2026_10_08=True, d2026_10_09=False), version=2))
    assert await planned() == (2, "2026-10-08 09:30:00", DESK)


async def test_who_is_not_in_the_file_cannot_be_planned() -> None:
    book = CalendarBook(_Loaded())
    for desk, currency in (("OSPB", "USD"), ("HBRB", "EUR")):
        with pytest.raises(KeyError):
            await book.plan_fx(RULES, desk, currency, None, shanghai("2026-03-10 10:00:00"))
