"""Structs of Elixir's that have a type in Python: dates, times, Decimal and MapSet.

    %Date{} -> node -> STRUCT [1, year, month, day] -> made() -> datetime.date
    datetime.date -> plain() -> Struct -> either encoder -> STRUCT -> node -> %Date{}

The node sends as a STRUCT only what the type can hold, so making it cannot fail; all other structs are
dicts with their `__struct__`. What the standard type has no room for, a subclass of it carries: the
precision of a time, the name and abbreviation of a time zone, the form of a MapSet before Elixir 1.15. So
what comes back on the BEAM is what went.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, Callable, Optional

from krait._terms import Atom, ListKey, MapKey

DATE, TIME, NAIVE, DATETIME, DECIMAL, MAPSET = range(1, 7)
IN_KEY = 16  # added to the kind of what is a key, or within one

ZONES_KEPT = 1024  # names of time zones; a peer cannot make it more
ZONE_BYTES = 64  # transcode_struct.c: longer names of time zones are left alone
DAY = 86399  # seconds, the largest offset


class Struct(list):  # type: ignore[type-arg]
    """What goes into a STRUCT: its kind and its fields."""

    __slots__ = ()


class Time(time):
    """A datetime.time with the precision of an Elixir Time: digits of the microsecond, 0 to 6. Without it,
    and in every other time, it is 6, or 0 when the microsecond is 0."""

    precision: int | None = None

    def __new__(cls, *args: Any, precision: int | None = None, **kwargs: Any) -> Time:
        return _precise(super().__new__(cls, *args, **kwargs), precision)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (*super().__reduce_ex__(protocol)[:2], self.__dict__)


class DateTime(datetime):
    """A datetime.datetime with the precision of an Elixir NaiveDateTime or DateTime; see Time."""

    precision: int | None = None

    def __new__(cls, *args: Any, precision: int | None = None, **kwargs: Any) -> DateTime:
        return _precise(super().__new__(cls, *args, **kwargs), precision)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (*super().__reduce_ex__(protocol)[:2], self.__dict__)


def _precise(value: Any, precision: int | None) -> Any:
    if precision is not None:
        if type(precision) is not int or not 0 <= precision <= 6:
            raise ValueError(f"a precision is an int from 0 to 6, got {precision!r}")
        value.precision = precision
    return value


class Zone(tzinfo):
    """The time zone of one Elixir DateTime, where Python's own database does not say the same of it: an
    offset that does not change, in seconds, and names. Wall clocks are those of that offset, even in
    another season."""

    def __init__(self, time_zone: str, zone_abbr: str, utc_offset: int, std_offset: int) -> None:
        self.time_zone = time_zone
        self.zone_abbr = zone_abbr
        self.utc_offset = utc_offset
        self.std_offset = std_offset

    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(seconds=self.utc_offset + self.std_offset)

    def dst(self, when: datetime | None) -> timedelta:
        return timedelta(seconds=self.std_offset)

    def tzname(self, when: datetime | None) -> str:
        return self.zone_abbr

    def fromutc(self, when: datetime) -> datetime:
        return when + self.utcoffset(when)

    def _fields(self) -> tuple[str, str, int, int]:
        return self.time_zone, self.zone_abbr, self.utc_offset, self.std_offset

    def __reduce__(self) -> tuple[Any, ...]:
        return Zone, self._fields()

    def __eq__(self, other: object) -> bool:
        return type(other) is Zone and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return f"krait.Zone{self._fields()!r}"


class MapSet(set):  # type: ignore[type-arg]
    """A set that came from Elixir before 1.15, whose MapSet has a version; it goes back with it."""

    __slots__ = ()


class FrozenMapSet(frozenset):  # type: ignore[type-arg]
    """A MapSet that is a key."""

    __slots__ = ()


def made(items: list[Any], keys: bool = True) -> Any:
    """The object that a STRUCT is; not `keys`: those within keys stay maps. Raises Clash for a set that would
    lose elements, and ValueError or TypeError for what is no STRUCT."""
    try:
        if items[0] > IN_KEY:
            return _made(items[0] - IN_KEY, items, True) if keys else _as_map(items[0] - IN_KEY, items)
        return _made(items[0], items, False)
    except (IndexError, KeyError, OverflowError, ArithmeticError):
        raise ValueError("no struct") from None


def _made(kind: int, items: list[Any], in_key: bool) -> Any:
    if kind == DATE:
        return date(*items[1:])
    if kind == TIME:
        _, hour, minute, second, microsecond, precision = items
        if precision == (6 if microsecond else 0):
            return time(hour, minute, second, microsecond)
        return Time(hour, minute, second, microsecond, precision=precision)
    if kind == NAIVE or kind == DATETIME:
        zone = _zone(items) if kind == DATETIME else (None, 0)
        return _datetime(items[1:8], items[8], *zone)
    if kind == DECIMAL:
        return _decimal(*items[1:])
    if kind == MAPSET:
        if in_key:
            return _set(items, FrozenMapSet if items[1] else frozenset)
        return _set(items, MapSet if items[1] else set)
    raise ValueError(f"no struct has the kind {kind!r}")


class Clash(Exception):
    """Two keys are equal in Python, and not on the BEAM: 1 and %Decimal{coef: 1}, or the same moment in two
    time zones."""


def _set(items: list[Any], cls: Any) -> Any:
    value = cls(items[2:])
    if len(value) != len(items) - 2:
        raise Clash
    return value


def _datetime(fields: list[int], precision: int, zone: tzinfo | None, fold: int) -> datetime:
    if precision == (6 if fields[6] else 0):
        return datetime(*fields, zone, fold=fold)  # type: ignore[arg-type, misc]
    return DateTime(*fields, zone, fold=fold, precision=precision)


_zones: dict[str, tzinfo | None] = {}


def _zone(items: list[Any]) -> tuple[tzinfo, int]:
    """The time zone of a DateTime, and which of the two times it is that have that wall clock."""
    utc_offset, std_offset, name, abbr = items[9:]
    if name == "Etc/UTC" and abbr == "UTC" and utc_offset == std_offset == 0:
        return timezone.utc, 0
    try:
        known = _zones[name]
    except KeyError:
        known = _known(name)
    if known is not None:
        for fold in (0, 1):
            value = _datetime(items[1:8], 6 if items[7] else 0, known, fold)
            if _offsets(value) == (utc_offset, std_offset) and value.tzname() == abbr:
                return known, fold
    return Zone(name, abbr, utc_offset, std_offset), 0


def _known(name: str) -> tzinfo | None:
    """The time zone of that name, if Python's database has it. "UTC" would come back as "Etc/UTC"."""
    known: tzinfo | None = None
    if name != "UTC":
        try:
            from zoneinfo import ZoneInfo  # late: 2 ms

            known = ZoneInfo(name)
        except Exception:  # not there, or no name of a file: it depends on Python's version what is raised
            pass
    if len(_zones) >= ZONES_KEPT:
        _zones.clear()
    _zones[name] = known
    return known


def _offsets(value: datetime) -> tuple[float, float]:
    """The utc_offset and std_offset of an aware one, in seconds."""
    total, dst = value.utcoffset() or timedelta(), value.dst() or timedelta()
    return (total - dst).total_seconds(), dst.total_seconds()


def _decimal(sign: int, exp: int, coef: int | str) -> Decimal:
    minus = "-" if sign < 0 else ""
    if isinstance(coef, str):
        return Decimal(f"{minus}{coef}")
    return Decimal(f"{minus}{coef}E{exp}")


def plain(value: Any) -> Any:
    """The Struct of a date, time, Decimal or set, or of an object of a subclass; None: it is none, or has
    no term. What a time zone of the user's raises goes through."""
    for cls in type(value).__mro__:
        if cls in EXACTLY:
            return EXACTLY[cls](value)
    return None


def _elements(value: Any) -> Struct:
    cls = type(value)
    version = 2 if issubclass(cls, (MapSet, FrozenMapSet)) else 0
    return Struct([MAPSET + (IN_KEY if issubclass(cls, frozenset) else 0), version, *value])


def _day(value: date) -> Struct:
    return Struct([DATE, value.year, value.month, value.day])


def _time(value: time) -> Struct | None:
    return None if value.tzinfo is not None else Struct([TIME, *_clock(value)])


def _clock(value: Any) -> tuple[int, int, int, int, int]:
    precision = getattr(value, "precision", None)
    if type(precision) is not int or not 0 <= precision <= 6:
        precision = 6 if value.microsecond else 0
    return value.hour, value.minute, value.second, value.microsecond, precision


def _moment(value: datetime) -> Struct | None:
    if type(value.year) is not int:  # pandas.NaT
        return None
    zone = value.tzinfo
    if zone is None or (zone is not timezone.utc and value.utcoffset() is None):
        return Struct([NAIVE, value.year, value.month, value.day, *_clock(value)])
    named = _named(zone, value)
    if named is None:
        try:
            value = value.astimezone(timezone.utc)
        except OverflowError:  # before the year 1 or after 9999
            return None
        named = 0, 0, "Etc/UTC", "UTC"
    return Struct([DATETIME, value.year, value.month, value.day, *_clock(value), *named])


def _named(zone: tzinfo, value: datetime) -> tuple[int, int, str, str] | None:
    """The fields that say what zone it is; None: it has no name by which Elixir could know it, as +01:00 has
    none, and is to become UTC. zoneinfo's zones have a `key`, pytz' a `zone`."""
    name: Any
    if type(zone) is Zone:
        name, abbr = zone.time_zone, zone.zone_abbr
        utc, std = float(zone.utc_offset), float(zone.std_offset)
    else:
        name = getattr(zone, "key", None) or getattr(zone, "zone", None)
        if not isinstance(name, str) or name == "UTC":
            return None
        abbr = value.tzname() or ""
        utc, std = _offsets(value)
    if not _is_name(name) or not _is_name(abbr):
        return None
    if utc % 1 or std % 1 or abs(utc) > DAY or abs(std) > DAY or abs(utc + std) > DAY:
        return None
    return int(utc), int(std), str(name), str(abbr)


def _is_name(text: object) -> bool:
    try:
        return isinstance(text, str) and len(text.encode()) <= ZONE_BYTES
    except UnicodeEncodeError:
        return False


def _number(value: Decimal) -> Struct | None:
    sign, digits, exp = value.as_tuple()
    minus = -1 if sign else 1
    if exp == "F":
        return Struct([DECIMAL, minus, 0, "inf"])
    if exp == "n" and not digits:
        return Struct([DECIMAL, minus, 0, "NaN"])
    if not isinstance(exp, int):  # a NaN with a payload, or one that signals
        return None
    return Struct([DECIMAL, minus, exp, int(Decimal((0, digits, 0)))])


EXACTLY: dict[type, Callable[[Any], Optional[Struct]]] = {
    date: _day,
    time: _time,
    Time: _time,
    datetime: _moment,
    DateTime: _moment,
    Decimal: _number,
    set: _elements,
    MapSet: _elements,
    frozenset: _elements,
    FrozenMapSet: _elements,
}

_NAMES = {
    DATE: ("Date", ("year", "month", "day")),
    TIME: ("Time", ("hour", "minute", "second", "microsecond")),
    NAIVE: ("NaiveDateTime", ("year", "month", "day", "hour", "minute", "second", "microsecond")),
    DATETIME: (
        "DateTime",
        ("year", "month", "day", "hour", "minute", "second", "microsecond",
         "utc_offset", "std_offset", "time_zone", "zone_abbr"),
    ),
    DECIMAL: ("Decimal", ("sign", "exp", "coef")),
}  # fmt: skip


def _as_map(kind: int, items: list[Any]) -> MapKey:
    """The map that a STRUCT within a key stands for."""
    if kind == MAPSET:
        pairs = {Atom("__struct__"): Atom("Elixir.MapSet")}
        pairs[Atom("map")] = MapKey((element, ListKey()) for element in items[2:])  # type: ignore[assignment]
        if items[1]:
            pairs[Atom("version")] = items[1]
        return MapKey(pairs)
    name, fields = _NAMES[kind]
    values = items[1:]
    if "microsecond" in fields:
        at = fields.index("microsecond")
        values[at : at + 2] = [tuple(values[at : at + 2])]
    if kind == DECIMAL and isinstance(values[2], str):
        values[2] = Atom(values[2])
    pairs = dict(zip(map(Atom, fields), values))
    pairs[Atom("__struct__")] = Atom("Elixir." + name)
    if kind != DECIMAL:
        pairs[Atom("calendar")] = Atom("Elixir.Calendar.ISO")
    return MapKey(pairs)

