"""The connections to the services."""

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, hdrs

from gateway.settings import GatewaySettings

CONNECT_SECONDS, QUEUE_SECONDS, IDLE_SECONDS = 3.0, 10.0, 15.0
DNS_SECONDS = 5


def upstream_session(settings: GatewaySettings) -> ClientSession:
    """Connections to the services, kept alive; several addresses of one name are used in turn.

    They idle for less time than aiohttp's servers allow, so that those rarely close one under a request.
    """
    session = ClientSession(
        connector=TCPConnector(
            limit=0,
            limit_per_host=settings.upstream_connections,
            ttl_dns_cache=DNS_SECONDS,
            keepalive_timeout=IDLE_SECONDS,
        ),
        timeout=ClientTimeout(
            total=None, connect=QUEUE_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=settings.upstream_seconds
        ),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
    )
    # aiohttp would send a DELETE twice as well; the proxy decides itself what may be repeated.
    session._retry_connection = False
    return session
