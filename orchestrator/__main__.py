"""Entry point of the ``orchestrator`` command and of ``python -m orchestrator``."""

from orchestrator.cli.main import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
