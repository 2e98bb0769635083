"""A real nginx as a reverse proxy."""

from tests.servers import programs
from tests.servers.loopback_server import LoopbackServer


class NginxServer(LoopbackServer):
    """nginx with one ``server`` block, which must listen on ``port``."""

    name = "nginx"
    start_seconds = 10.0

    def configure(self, block: str) -> None:
        """Write its configuration: the block inside of what it needs to keep out of the machine's own folders."""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = "\n".join(f"    {kind}_temp_path {self.directory}/{kind};" for kind in kinds)
        (self.directory / "nginx.conf").write_text(
            f"daemon off;\nmaster_process off;\npid {self.directory}/nginx.pid;\nerror_log stderr;\n"
            f"events {{}}\nhttp {{\n    access_log off;\n{folders}\n{block}\n}}\n"
        )

    def command(self) -> list[str]:
        """See LoopbackServer."""
        log = str(self.directory / "error.log")
        return [programs.find_program("nginx"), "-e", log, "-c", str(self.directory / "nginx.conf")]
