"""Expressions of alerts, asked in another way: a healthy world answers an alert with nothing, and so does an alert that is misspelt."""

import re

TOKEN = re.compile(
    r"""(?P<skip>"(?:[^"\\]|\\.)*"|\s+)
    |(?P<selector>(?:[a-zA-Z_:][a-zA-Z0-9_:]*)?\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})
    |(?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<comparison>==|!=|<=|>=|<|>)
    |(?P<range>\[[^\]]*\])
    |(?P<other>[0-9.]+[a-z]*|.)""",
    re.VERBOSE,
)


def tokens(expression):
    """The pieces of an expression, each with its kind."""
    return [(match.lastgroup, match.group()) for match in TOKEN.finditer(expression)]


def as_a_question(expression):
    """The same joins without the verdict: every comparison answers 0 or 1, and `unless` takes what it would have taken away. So it is
    answered exactly if all series are there and their labels meet."""
    out = []
    for kind, text in tokens(expression):
        if kind == "comparison":
            text += " bool"
        elif kind == "word" and text == "unless":
            text = "and"
        out.append(text)
    return "".join(out)


def selectors(expression):
    """The selectors in it."""
    return [text for kind, text in tokens(expression) if kind in ("selector", "word") and re.match(r"(keyrota_|up\b|process_)", text)]

