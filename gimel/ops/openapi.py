"""The HTTP API as an OpenAPI 3.1 document, made from the table of endpoints and from what the code checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import gimel
from gimel.access import READ, WRITE
from gimel.analysis.planning import MOST_VARIANTS, WAYS
from gimel.analysis.proportions import Interval
from gimel.analysis.report import ResultRow
from gimel.analysis.series import BANDS
from gimel.analysis.verdicts import STATES
from gimel.config import TRACK, Config
from gimel.events import DEFAULT_NAMESPACE, HINT, MAX_EVENTS, MAX_NAME_LENGTH, PARTICIPATE, REQUIRED
from gimel.gateway import FORM, PREFLIGHT_MAX_AGE_S, RETRY_AFTER_S
from gimel.lives import STATUSES

from .endpoints import HEALTH, PAGE, Endpoint, by_path

Json = dict[str, Any]

API_KEY = "api_key"
NAME_PATTERN = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
NAMESPACE_PATTERN = "^[^:\\u0000-\\u001f\\u007f-\\u009f]*$"

NULL: Json = {"type": "null"}
TEXT: Json = {"type": "string"}
TEXTS: Json = {"type": "array", "items": TEXT}
COUNT: Json = {"type": "integer", "minimum": 0}
COUNT_OR_NULL: Json = {"type": ["integer", "null"], "minimum": 0}
NUMBER: Json = {"type": "number"}
NUMBER_OR_NULL: Json = {"type": ["number", "null"]}
TEXT_OR_NULL: Json = {"type": ["string", "null"]}
MOMENT: Json = {"type": "string", "format": "date-time"}
KIND: Json = {
    "type": "string",
    "enum": ["proportion", "per_visitor"],
    "description": "Whether a visitor reaches it once or can reach it repeatedly: then it is not tested.",
}
ROLE: Json = {
    "type": "string",
    "enum": ["primary", "secondary", "guardrail", "goal"],
    "description": "Whether it decides, is one beside that, must not get worse, or is one of equals.",
}
STATE: Json = {"type": "string", "enum": list(STATES)}

INTRODUCTION = (
    "Counts visitors of A/B tests, and reports which variant is better. Pages send events to /track, without a key; "
    "reading needs an API key in the header x-api-key, changing and deleting the write key. Every answer, errors "
    "included, has CORS headers. "
    "Further keys may be added to answers in later versions: ignore those you do not know."
)

SECOND_PATH = f"The same as {TRACK}, at the path that pages use, because many ad blockers block {TRACK}."

FIELDS = {
    "experiment": "The experiment's name.",
    "variant": "The variant that the visitor sees.",
    "event": f"`{PARTICIPATE}` when the visitor enters the experiment; the goal's name when they reach it.",
    "uuid": "An id of the visitor: repeats count once. For a goal that counts every time, an id of the event.",
    "namespace": f"Keeps experiments apart. If missing, empty or `undefined`, it is `{DEFAULT_NAMESPACE}`.",
}
FIGURES = {
    "label": "The variant's name.",
    "successes": "How many reached the goal.",
    "trials": "How many took part.",
    "rate": "Successes per participant.",
    "rate_interval": "95 % interval of the rate.",
    "difference": "The rate minus the control's; 0.01 is one percentage point.",
    "difference_interval": "Of the difference, for a single look, corrected for several variants.",
    "uplift": "The difference relative to the control's rate.",
    "uplift_interval": "Of the uplift; `high` is null where the control's rate may be zero.",
    "p_value": "For a single look, corrected for several variants.",
    "unadjusted_p_value": "The same without that correction.",
    "chance_to_beat_control": "Probability that the true rate exceeds the control's, from uniform priors, uncorrected.",
    "always_valid_interval": "Of the difference, for any number of looks. Without a plan, the verdict is made from it.",
    "always_valid_p_value": "Below the goal's `alpha` exactly when that interval excludes zero.",
    "planned_interval": "Of the difference, for any number of looks until the plan ends. It makes the verdict.",
    "planned_p_value": "Below the goal's `alpha` exactly when that interval excludes zero.",
    "expected_loss": "What choosing this variant loses on average if it is worse; 0.01 is one percentage point.",
    "visitors_needed": "How many more visitors, in all, until the smallest change that matters gets a verdict.",
    "visitors_needed_smallest": "How many of these in the variant with the smallest share.",
    "visitors_needed_equal": "How many in all, if the visitors were split equally.",
    "counting_error": "Relative standard error that the two counters alone give the rate.",
    "verdict": "What the figures mean.",
}


REASONS = {
    "namespace": "not one of the namespaces to count",
    "experiment": "not one of the experiments to count",
    "variant": "not one of the experiment's variants",
    "goal": "not one of the experiment's goals",
    "limit": "a new name beyond the limits",
    "stopped": "of an experiment that is stopped or archived",
    "bot": "sent by a bot",
    "prefetch": "sent by a prefetched or prerendered page",
    "origin": "not sent by a page of the allowed origins",
}
"""Why an event is not counted, by the code in X-Gimel-Ignored."""


@dataclass(frozen=True)
class Operation:
    """What a method of an endpoint does, its query parameters, and what it answers with 200."""

    summary: str
    description: str
    parameters: tuple[str, ...]
    answer: Json
    answer_text: str = "The report."
    body: Json | None = None


def document(url: str, track_path: str = Config.track_path) -> Json:
    """The description of the API at this URL, whose pages send events to this path."""
    # The dashboard is for browsers only.
    paths = {path: _path(endpoint, path) for path, endpoint in by_path(track_path).items() if path != PAGE}
    if track_path != TRACK:
        paths[track_path]["description"] = SECOND_PATH
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gimel",
            "version": gimel.__version__,
            "description": INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "securitySchemes": {API_KEY: {"type": "apiKey", "in": "header", "name": "x-api-key"}},
            "parameters": _parameters(),
            "responses": _responses(),
            "headers": _headers(),
            "schemas": _schemas(),
        },
    }


def _path(endpoint: Endpoint, path: str) -> Json:
    found = {method.lower(): _operation(endpoint, path, method) for method in endpoint.methods}
    return found | {
        "options": {
            "summary": "Answer the preflight of a browser",
            "operationId": f"options_{path.strip('/')}",
            "security": [],
            "responses": {"204": _ref("responses", "Preflight")},
        }
    }


def _operation(endpoint: Endpoint, path: str, method: str) -> Json:
    about = OPERATIONS[method, endpoint.path]
    answer: Json = {"description": about.answer_text, "content": _json(about.answer)}
    errors = {"400": "BadRequest", "405": "OtherMethod", "429": "TooManyRequests", "500": "Failure", "503": "Outage"}
    if endpoint.needs_key(method):
        errors["403"] = "Forbidden"
    if endpoint.path == "/track":
        answer["headers"] = {"X-Gimel-Ignored": _ref("headers", "X-Gimel-Ignored")}
    operation: Json = {
        "summary": about.summary,
        "description": about.description,
        "operationId": f"{method.lower()}_{path.strip('/')}",
        "security": [{API_KEY: []}] if endpoint.needs_key(method) else [],
        "parameters": [_ref("parameters", name) for name in about.parameters],
    }
    if about.body:
        operation["requestBody"] = about.body
    if method == "PUT":
        errors["409"] = "Conflict"
    if about.body or (method == "GET" and endpoint.needs_key(method)):
        errors["413"] = "TooLarge"
    responses = {status: _ref("responses", name) for status, name in sorted(errors.items())}
    return operation | {"responses": {"200": answer, **responses}}


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _schema(name: str) -> Json:
    return _ref("schemas", name)


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _object(description: str, /, **properties: Json) -> Json:
    return {"type": "object", "description": description, "required": list(properties), "properties": properties}


def _list_of(schema: Json, **more: Any) -> Json:
    return {"type": "array", "items": schema, **more}


def _by(description: str, schema: Json) -> Json:
    """An object of such values, by name."""
    return {"type": "object", "additionalProperties": schema, **({"description": description} if description else {})}


def _or_null(schema: Json, description: str) -> Json:
    return {**schema, "type": [schema["type"], "null"], "description": description}


def _described(schema: Json, description: str) -> Json:
    return {**schema, "description": description}


def _name(types: list[str] | str = "string", required: bool = True, pattern: str = NAME_PATTERN) -> Json:
    return {"type": types, "minLength": int(required), "maxLength": MAX_NAME_LENGTH, "pattern": pattern}


def _parameters() -> Json:
    """The query parameters by name: the fields of an event, and those of reports."""

    def query(name: str, schema: Json, description: str, required: bool = False) -> Json:
        return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}

    return {
        **{f"event_{name}": query(name, _name(), FIELDS[name], required=True) for name in REQUIRED},
        "namespace": query("namespace", _name(required=False, pattern=NAMESPACE_PATTERN), FIELDS["namespace"]),
        "experiment": query("experiment", {"type": "string", "minLength": 1}, FIELDS["experiment"], required=True),
        "scope": query("scope", TEXT, "Only these experiments, separated by commas; default: all."),
        "limit": query(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": 999_999},
            "At most this many experiments, or fewer if they are large, or moments of a history; default: all.",
        ),
        "after": query("after", TEXT, "Only experiments that follow this name: the `next` of the page before."),
        "control": query(
            "control",
            TEXT,
            "The variant that the others are compared with, instead of the configured one. An unknown one is noted.",
        ),
        "rate": query("rate", TEXT, "The control's conversion rate: 0.05 or 5%.", required=True),
        "change": query("change", TEXT, "The smallest relative change that matters: 0.1 or 10%.", required=True),
        "per_day": query("per_day", TEXT, "Visitors per day in all.", required=True),
        "variants": query(
            "variants",
            {"type": "integer", "minimum": 2, "maximum": MOST_VARIANTS},
            "How many variants there are, with the control; default: as many as weights, or 2.",
        ),
        "weights": query(
            "weights", TEXT, "The variants' weights, the control's first, separated by commas; default: equal ones."
        ),
        "planned": query(
            "experiment", TEXT, "The experiment's name, in case its counters have a precision of their own."
        ),
    }


def _headers() -> Json:
    reasons = "; ".join(f"`{code}`: {meaning}" for code, meaning in REASONS.items())
    codes = "|".join(REASONS)
    return {
        "X-Gimel-Ignored": {
            "description": f"Present if an event was ignored on purpose: do not send it again. {reasons}.",
            "schema": {**TEXT, "pattern": f"^({codes})(, ({codes}))*$"},
        },
        "Retry-After": {
            "description": "Seconds to wait before the same request is sent again.",
            "schema": {"type": "integer", "examples": [RETRY_AFTER_S]},
        },
    }


def _responses() -> Json:
    def error(description: str, *schemas: str) -> Json:
        return {"description": description, "content": _json({"anyOf": [_schema(name) for name in schemas]})}

    return {
        "BadRequest": error(
            "Nothing was counted, read or deleted: the request has to be corrected. Everything wrong is named.",
            "Refusal",
            "PartialRefusal",
        ),
        "Forbidden": error("The API key is missing or invalid, or can only read.", "Error", "GatewayError"),
        "Conflict": error("Somebody else has changed the same since. Nothing was changed.", "Conflict"),
        "OtherMethod": error("Another method than those described here.", "Error"),
        "TooLarge": error("The request or the answer is too large; the hint says what to do.", "Error", "GatewayError"),
        "TooManyRequests": error(
            "The API's throttle is reached: send the same request again later.", "Error", "GatewayError"
        ),
        "Failure": error("An unexpected failure; its cause is in the log.", "Error", "GatewayError"),
        "Outage": {
            **error("Redis is down or full: send the same request again later.", "Error", "GatewayError"),
            "headers": {"Retry-After": _ref("headers", "Retry-After")},
        },
        "Preflight": {
            "description": "What pages of other origins may do.",
            "headers": {
                "Access-Control-Allow-Methods": {"schema": TEXT},
                "Access-Control-Allow-Headers": {"schema": TEXT},
                "Access-Control-Max-Age": {"schema": {"type": "integer", "examples": [PREFLIGHT_MAX_AGE_S]}},
            },
        },
    }


def _schemas() -> Json:
    text_or_number = ["string", "number"]
    namespace = _name([*text_or_number, "null"], required=False, pattern=NAMESPACE_PATTERN)
    return {
        "Event": {
            **_object(
                f"A visitor took part or reached a goal: {HINT}. Numbers are taken as text.",
                **{name: _described(_name(text_or_number), FIELDS[name]) for name in REQUIRED},
                namespace=_described(namespace, FIELDS["namespace"]),
            ),
            "required": list(REQUIRED),
        },
        "Events": _list_of(_schema("Event"), minItems=1, maxItems=MAX_EVENTS),
        "Error": _object("What failed, and what to do.", error=TEXT, hint=TEXT),
        "GatewayError": _object("An error of API Gateway itself.", message=TEXT),
        "Refusal": _object("Everything that is wrong with a request.", error=TEXT, problems=TEXTS, hint=TEXT),
        "PartialRefusal": _object(
            "Which events of a list were refused, and why.",
            error=TEXT,
            counted=_described(COUNT, "How many others were counted."),
            refused=_list_of(
                _object(
                    "A refused event.",
                    item=_described(COUNT, "Its position in the list, from 0."),
                    problems=_described(TEXTS, "Everything that is wrong with it."),
                )
            ),
            hint=TEXT,
        ),
        "Change": {
            **_object(
                "A change of an experiment's settings and status.",
                experiment=_described({**TEXT, "minLength": 1}, FIELDS["experiment"]),
                namespace=_described(namespace, FIELDS["namespace"]),
                version=_described(
                    {"type": ["integer", "null"], "minimum": 0},
                    "The version that the changes are based on; if missing, whatever is there is changed.",
                ),
                changes={
                    **_object("New values by key; null resets one.", status=STATUS, **CHANGES),
                    "required": [],
                    "minProperties": 1,
                    "additionalProperties": False,
                },
            ),
            "required": ["experiment", "changes"],
            "additionalProperties": False,
        },
        "Changed": _object("What was changed.", experiment=TEXT, namespace=TEXT, settings=_schema("Settings")),
        "Conflict": _object(
            "What somebody else has changed, and what it is now.",
            error=TEXT,
            hint=TEXT,
            changed=_by("By key.", _object("Null: nothing, or unknown.", was={}, **{"is": {}})),
            settings=_schema("Settings"),
        ),
        "Settings": _object(
            "The settings that count, by config.json or else by PUT /experiment, and its status; null where not set.",
            version=_described(COUNT, "Of the settings that are not in config.json; 0: there are none."),
            status=STATUS,
            dates=_by("When it took each status, as far as that is known.", MOMENT),
            **SETTINGS,
            in_config=_described(TEXTS, "The keys that config.json sets: they can be changed there only."),
            can_start=_described({"type": "boolean"}, "Whether it can become `running`: archived ones cannot."),
        ),
        "Verdict": _object(
            "`state` is for programs; `text` and `reason` are sentences for people.",
            state=STATE,
            text=TEXT,
            reason=TEXT,
        ),
        "Since": {
            "anyOf": [
                NULL,
                _object(
                    "Since when the verdict has been what it is, by the history; null if no history shows it.",
                    at=_described({"type": "string", "format": "date-time"}, "To the hour (UTC)."),
                    before=_described({"anyOf": [NULL, STATE]}, "The state before; null: this is the first one."),
                ),
            ]
        },
        "Interval": _object(
            "A bound that does not exist is null.", **dict.fromkeys(get_type_hints(Interval), NUMBER_OR_NULL)
        ),
        "Result": _fields(ResultRow, "A variant's figures for one goal; null where a figure is undefined."),
        "Goal": _object(
            "What is known of one goal.",
            goal=_described(TEXT, "Its name."),
            kind=KIND,
            role=ROLE,
            alpha=_described({"type": "number"}, "The share of false verdicts that its tests allow."),
            digits=_object(
                "How many decimals its figures are shown with, in the verdict and in tables: in percent.",
                rate=COUNT,
                points=_described(COUNT, "Of differences, in percentage points."),
                uplift=COUNT,
            ),
            verdict=_schema("Verdict"),
            verdict_since=_schema("Since"),
            days_left=_described(
                NUMBER_OR_NULL, "How many days its verdict takes at the present rate; null if moot or unknown."
            ),
            results=_list_of(_schema("Result")),
            by_day={
                "anyOf": [NULL, _by("", BY_DAY)],
                "description": "Of variants that are compared within periods, as the shares of visitors changed while "
                "the rates moved; else null. The differences among `results` are then these.",
            },
        ),
        "GoalOfExperiment": {
            "allOf": [
                _schema("Goal"),
                _object("What /experiment adds to each goal.", control=TEXT_OR_NULL, notes=TEXTS),
            ]
        },
        "Experiment": _object(
            "The report of one experiment.",
            experiment=_described(TEXT, "Its name."),
            participants=_list_of(
                _object(
                    "How many took part in a variant.",
                    label=_described(TEXT, FIGURES["label"]),
                    trials=_described(COUNT, FIGURES["trials"]),
                    counting_error=_described(
                        {"type": "number"}, "Relative standard error of that count; 0.008 is 0.8 %."
                    ),
                    unexpected=_described(
                        {"type": "boolean"}, "Whether it is left out: not listed, or with far too few visitors."
                    ),
                )
            ),
            first_seen=_described(
                TEXT_OR_NULL, "When the first event came, to the hour; null if it is older than the history."
            ),
            last_seen=_described(TEXT_OR_NULL, "When the last event came, to the hour; null if no history shows it."),
            days=_described(NUMBER_OR_NULL, "How many days ago `first_seen` was."),
            visitors_per_day=_by(
                "The average of the last 7 full days (UTC), by variant; empty before there is one.", {"type": "number"}
            ),
            visitors_by_day=_list_of(
                _object(
                    "A day.", day=_described(TEXT, "Its date (UTC)."), visitors=_described(COUNT, "How many came.")
                ),
                description="Visitors in all on each of the last 28 days; the last of them is today, so far.",
            ),
            control=_described(TEXT_OR_NULL, "The variant that the others are compared with."),
            comparisons=_described(COUNT, "How many variants are compared with it."),
            smallest_change=_described({"type": "number"}, "The relative change of a rate that matters; 0.1 is 10 %."),
            plan=_described({"anyOf": [NULL, _schema("Plan")]}, "How far a planned experiment is, or null."),
            verdict={
                "description": "What to read first.",
                "allOf": [
                    _schema("Verdict"),
                    _object(
                        "The goal that the verdict is about; null: the whole experiment.",
                        goal=_described(TEXT_OR_NULL, "The goal's name."),
                    ),
                ],
            },
            verdict_since=_schema("Since"),
            sample_ratio=_object(
                "Whether the visitors are split as they should be.",
                state={"type": "string", "enum": ["as_expected", "mismatch", "not_tested"]},
                p_value=_described(NUMBER_OR_NULL, "How often chance alone makes a split this uneven, at one look."),
                always_valid_p_value=_described(
                    NUMBER_OR_NULL, "The same no matter how often you check; below 0.001 it is a mismatch."
                ),
                expected=_list_of(
                    _object(
                        "What a variant should have.", label=TEXT, share={"type": "number"}, trials={"type": "number"}
                    )
                ),
                text=TEXT,
                reason=TEXT,
                since=_described(
                    TEXT_OR_NULL, "Since when there is a mismatch, to the hour or day; null if that is unknown."
                ),
            ),
            counting_note=_described(
                TEXT_OR_NULL, "Present if the counters' own error is a large part of the uncertainty."
            ),
            notes=_described(TEXTS, "Sentences about what does not fit together."),
            goals=_list_of(_schema("Goal")),
            settings=_schema("Settings"),
            headline=_described(TEXT, "A sentence or two for people: the verdict, its interval, and what to do."),
        ),
        "Plan": _object(
            "A planned experiment; its verdicts are final once it has ended.",
            visitors=_described(COUNT, "The planned visitors as configured: of each variant, or with weights in all."),
            in_all=_described(COUNT, "The planned visitors in all."),
            reached=_described({"type": "number"}, "How many of them have come; 0.31 is 31 %."),
            missing=_described(COUNT, "How many are still to come."),
            ended={
                "anyOf": [
                    NULL,
                    _object(
                        "When its verdicts were decided, and from how many visitors.",
                        at=MOMENT,
                        visitors=COUNT,
                    ),
                ]
            },
        ),
        "History": _object(
            "An experiment over time. All moments and days are in UTC.",
            experiment=_described(TEXT, "Its name."),
            control=_described(TEXT_OR_NULL, "The variant that the others are compared with."),
            labels=_described(TEXTS, "The variants, the control first."),
            at=_list_of(MOMENT, description="The moments of the other lists, the points; the last is now."),
            visitors=_by("Of each variant, how many had taken part at each point.", _list_of(COUNT)),
            days=_object(
                "What was counted on each day; the last is today, so far.",
                day=_described(TEXTS, "The days, such as 2026-11-30."),
                visitors=_by("Of each variant, how many took part first on that day.", _list_of(COUNT)),
                reached=_by("Of each goal and variant, how many reached it first.", _by("", _list_of(COUNT))),
            ),
            goals=_list_of(
                _object(
                    "A goal. Its lists have a value for each point; null where a figure is undefined.",
                    goal=_described(TEXT, "Its name."),
                    kind=KIND,
                    role=ROLE,
                    successes=_by("Of each variant, how many had reached it.", _list_of(COUNT)),
                    rates=_by("Of each variant.", _list_of(NUMBER_OR_NULL)),
                    differences=_by(
                        "Of each variant but the control; empty for a goal that is not tested.",
                        _object(
                            "`low` and `high` are the interval that decides, `once_` that of a single look.",
                            **dict.fromkeys(BANDS, _list_of(NUMBER_OR_NULL)),
                        ),
                    ),
                )
            ),
            verdicts=_list_of(
                _object(
                    "A verdict that changed.",
                    at=MOMENT,
                    goal=_described(TEXT_OR_NULL, "The goal; null: the experiment; empty: the split of visitors."),
                    state=_described(TEXT, "What it became. Of the split: `mismatch` or `ok`."),
                )
            ),
        ),
        "Planning": _object(
            "What a planned experiment takes.",
            rate=_described(NUMBER, "The control's conversion rate."),
            change=_described(NUMBER, "The relative change; below 0 where the rate has no room to rise so much."),
            per_day=_described(NUMBER, "Visitors per day in all."),
            shares=_list_of(NUMBER, description="The part of the visitors that each variant gets, the control first."),
            precision=_described({"type": ["string", "integer"]}, "The precision of the counters."),
            power=_described(NUMBER, "The probability that the change is detected by then."),
            alpha=_described(NUMBER, "The probability of a false verdict, for all variants together."),
            ways=_object(
                "How the experiment can be decided.",
                planned=_schema("Duration"),
                always_valid={
                    "allOf": [
                        _schema("Duration"),
                        _object("Of a verdict that may come on any day.", typical=_schema("Duration")),
                    ],
                    "description": "By when 80 % of such experiments have the verdict; `typical`: half of them.",
                },
                single_look=_schema("Duration"),
            ),
            visible=_list_of(
                _object(
                    "The smallest relative change that is detected after some weeks; null: not even a doubling.",
                    weeks=COUNT,
                    visitors=COUNT,
                    **dict.fromkeys(WAYS, NUMBER_OR_NULL),
                )
            ),
            curve=_list_of(
                _object(
                    "The visitors in all that a relative change takes; null: the counting error hides it.",
                    change=NUMBER,
                    **dict.fromkeys(WAYS, COUNT_OR_NULL),
                )
            ),
            settings=_object(
                "What to store with the experiment.",
                smallest_change=NUMBER,
                planned_visitors=_described(COUNT_OR_NULL, "Of each variant, or with weights in all."),
            ),
        ),
        "Duration": _object(
            "Visitors in all, and whole days; null: the counting error hides the change.",
            visitors=COUNT_OR_NULL,
            days=COUNT_OR_NULL,
        ),
        "TurnedAway": _object(
            "An event that was not counted, with the names that were sent.",
            at=_described(MOMENT, "When, to the minute, it was last sent like this."),
            experiment=TEXT,
            variant=TEXT,
            event=TEXT,
            why={"type": "string", "enum": ["ignored", "refused"]},
            reasons=_described(TEXTS, "Those of X-Gimel-Ignored, or the problems of the answer."),
        ),
        "Meta": _object(
            "The first item of the list.",
            meta=_object(
                "What the list is about.",
                scope=_described(TEXT_OR_NULL, "The `scope` that was asked for."),
                ignored={
                    "type": "object",
                    "description": "How many requests were ignored today (UTC), by the reason.",
                    "additionalProperties": COUNT,
                },
                turned_away=_described(
                    _list_of(_schema("TurnedAway")),
                    "Events of the last hour that were not counted, the newest first, of this namespace and of unknown"
                    " ones.",
                ),
                namespaces=_described(TEXTS, "Those that have experiments, sorted; `alephbet` if there are none."),
                archived=_described(TEXTS, "The archived experiments, which are reported only if `scope` names them."),
                next=_described(TEXT_OR_NULL, "Send it as `after` for the next page; null: this is the last one."),
                access={
                    "type": "string",
                    "enum": [READ, WRITE],
                    "description": "What the request's API key may do: read alone, or change and delete, too.",
                },
            ),
        ),
    }


STATUS: Json = {
    "type": "string",
    "enum": list(STATUSES),
    "description": "A draft has no visitors yet; events of stopped and archived experiments are ignored.",
}
CHANGES: Json = {
    "hypothesis": _or_null(TEXT, "What is expected, and why."),
    "owner": _or_null(TEXT, "Whom to ask."),
    "link": _or_null(TEXT, "The address of a ticket or a document."),
    "decision": _or_null(TEXT, "The variant that was chosen, or other text such as `none`."),
    "note": _or_null(TEXT, "Why it was decided so."),
    "baseline": _or_null(TEXT, "The control."),
    "goal": _or_null(TEXT, "The goal that decides."),
    "goals": _or_null(TEXTS, "All goals."),
    "guardrails": _or_null(
        _by("", {"type": "number"}), "Goals that must not get worse, each with the largest change that is allowed."
    ),
    "per_visitor": _or_null(TEXTS, "The goals that a visitor can reach more than once."),
    "planned_visitors": {
        "type": ["integer", "string", "null"],  # as in config.json
        "minimum": 1,
        "pattern": "^[0-9]+$",
        "description": "When it ends: visitors of each variant, or with weights in all.",
    },
    "smallest_change": _or_null({"type": "number"}, "The relative change of a rate that matters; 0.1 if not set."),
    "variants": _or_null(TEXTS, "All variants; those of the weights if not set."),
    "weights": _or_null(_by("", {"type": "number"}), "The shares of visitors, by variant."),
}
SETTINGS: Json = {
    **CHANGES,
    **{name: _described(TEXT, CHANGES[name]["description"]) for name in ("hypothesis", "owner", "link", "note")},
}

BY_DAY: Json = _object(
    "Both rates as if variant and control had had the same visitors from each period.",
    rate={"type": "number"},
    control_rate={"type": "number"},
    difference={"type": "number"},
    periods=_list_of(
        _object(
            "A period in which the shares stayed the same.",
            until=MOMENT,
            trials=COUNT,
            rate={"type": "number"},
            control_trials=COUNT,
            control_rate={"type": "number"},
        )
    ),
)


def _fields(cls: type, description: str, **known: Json) -> Json:
    """The schema of a dataclass from the types of its fields."""
    hints = get_type_hints(cls)
    return _object(description, **{name: known.get(name) or _field(name, hint) for name, hint in hints.items()})


def _field(name: str, hint: Any) -> Json:
    kinds = get_args(hint) or (hint,)
    types = {str: "string", int: "integer", float: "number", type(None): "null"}
    if all(kind in types for kind in kinds):
        names = [types[kind] for kind in kinds]
        schema: Json = {"type": names if len(names) > 1 else names[0]}
    else:
        schema = {"anyOf": [NULL if kind is type(None) else _schema(kind.__name__) for kind in kinds]}
    return _described(schema, FIGURES[name]) if name in FIGURES else schema


EVENT_OR_EVENTS: Json = {"anyOf": [_schema("Event"), _schema("Events")]}

OPERATIONS = {
    ("GET", "/track"): Operation(
        "Count one event",
        "Each event counts once, however often it is sent.",
        (*(f"event_{name}" for name in REQUIRED), "namespace"),
        NULL,
        "The event is counted, or it is ignored on purpose, as X-Gimel-Ignored says.",
    ),
    ("POST", "/track"): Operation(
        "Count one event or a list of them",
        f"A list has up to {MAX_EVENTS} events; its good ones are counted even if others are refused. Without a body, "
        "the query string is read as by GET.",
        (),
        {"anyOf": [NULL, _schema("PartialRefusal")]},
        "All events are counted (null), or ignored on purpose as X-Gimel-Ignored says; or some of them are refused.",
        {
            "description": "JSON with any content type, as navigator.sendBeacon sends it, or a form.",
            "required": False,
            "content": {
                "application/json": {"schema": EVENT_OR_EVENTS},
                "text/plain": {"schema": {**TEXT, "contentMediaType": "application/json"}},
                FORM: {"schema": _schema("Event")},
            },
        },
    ),
    ("GET", "/experiments"): Operation(
        "Report all experiments",
        "A list: first `meta`, then the experiments, sorted by name. With `limit`, it has pages.",
        ("namespace", "scope", "control", "limit", "after"),
        # Not `prefixItems`, which few code generators understand.
        _list_of({"anyOf": [_schema("Meta"), _schema("Experiment")]}, minItems=1),
    ),
    ("GET", "/experiment"): Operation(
        "Report one experiment",
        "A list of its goals, sorted by name; empty if no goal was reached yet.",
        ("experiment", "namespace", "control"),
        _list_of(_schema("GoalOfExperiment")),
    ),
    ("PUT", "/experiment"): Operation(
        "Change the settings and the status of one experiment",
        "Or make a draft of a new one. Changes of different keys by different people are merged; if somebody else has "
        "changed the same key since the `version` that this is based on, nothing is changed. What config.json sets can "
        "be changed there only. It needs the write key.",
        (),
        _schema("Changed"),
        "It is changed.",
        {"required": True, "content": _json(_schema("Change"))},
    ),
    ("GET", "/history"): Operation(
        "Tell how the figures of one experiment came about",
        "Its figures at up to 500 moments, or `limit`; the last is now. Lists are empty if nothing was counted.",
        ("experiment", "namespace", "control", "limit"),
        _schema("History"),
        "The series.",
    ),
    ("GET", "/plan"): Operation(
        "Tell how many visitors and days an experiment will take",
        "Computed from the parameters and the configured precision of the counters; reads no counts.",
        ("rate", "change", "per_day", "variants", "weights", "planned"),
        _schema("Planning"),
        "The numbers, each for a power of 80 % at a level of 5 %.",
    ),
    ("DELETE", "/delete"): Operation(
        "Delete one experiment",
        "Deletes its counters, name, settings, history and the end of its plan, and nothing else. There is no undo.",
        ("experiment", "namespace"),
        NULL,
        "It is deleted, or was not there.",
    ),
    ("GET", HEALTH): Operation(
        "Tell whether events can be counted",
        "Asks Redis, and counts nothing. It needs no key, and has the limits of reports.",
        (),
        _object("Whether Redis answers and takes writes.", redis={"const": "answers"}),
        "Redis answers and takes writes.",
    ),
}
"""What each method of each endpoint does."""
