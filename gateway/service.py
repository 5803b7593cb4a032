"""The table of contents of the gateway."""

from pathlib import Path

from gateway import access_tokens, apps, auth, docs, emails, health, invites, resets, users
from gateway.commands import COMMANDS
from gateway.cors import let_in
from gateway.dialects import shoplazza
from gateway.documents import KINDS
from gateway.edge import guarded_routes
from gateway.events import EVENTS
from gateway.glossary import GLOSSARY
from gateway.parts import learn_routes, open_parts
from gateway.settings import GatewaySettings
from services.chassis.service import Service

OPERATIONS = [
    *auth.OPERATIONS,
    *resets.OPERATIONS,  # before users: /admin/users/{id} takes any word
    *users.OPERATIONS,
    *invites.OPERATIONS,
    *access_tokens.OPERATIONS,
    *shoplazza.OPERATIONS,
    *apps.OPERATIONS,
]
SERVICE = Service(
    name="gateway",
    folder=Path(__file__).parent,
    settings=GatewaySettings,
    operations=OPERATIONS,
    pages=[*docs.PAGES, *health.PAGES],
    commands=COMMANDS,
    documents=KINDS,
    glossary=GLOSSARY,
    events=EVENTS,
    edge=guarded_routes,
    server={
        "auto_decompress": False,  # what is compressed passes as it is
        "lingering_time": 3.0,  # for who still sends after the answer, to notice it
    },
    beside=[open_parts, let_in, docs.documenting(OPERATIONS)],
    workers={"mails": emails.run_mails, "routing": learn_routes},
    after_migrations=users.ensure_first_user,
)
