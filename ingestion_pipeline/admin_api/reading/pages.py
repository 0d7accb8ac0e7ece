"""The HTML of the reading API: one plain page for every answer, with its links.

tipg's own pages load scripts from other servers.
"""

import json

import jinja2
from starlette.templating import Jinja2Templates

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ template.title }}</title>
<nav>{% for crumb in crumbs %}<a href="{{ crumb.url }}/">{{ crumb.part }}</a> {% endfor %}</nav>
<h1>{{ template.title }}</h1>
<ul>{% for link in response.links %}
<li><a href="{{ link.href }}">{{ link.title or link.rel }}</a></li>{% endfor %}
{% for collection in response.collections %}
<li>{{ collection.id }}: {{ collection.description }}<ul>{% for link in collection.links %}
<li><a href="{{ link.href }}">{{ link.title or link.rel }}</a></li>{% endfor %}</ul></li>
{% endfor %}</ul>
<pre>{{ response | pretty }}</pre></html>
"""


def templates() -> Jinja2Templates:
    """Return templates for tipg that give the same page for every name."""
    environment = jinja2.Environment(loader=jinja2.FunctionLoader(lambda _: PAGE), autoescape=True)
    environment.filters["pretty"] = _pretty
    return Jinja2Templates(env=environment)


def _pretty(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)
