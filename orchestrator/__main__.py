"""Entry point of the ``orchestrator`` command and of ``python -m orchestrator``."""


def main() -> None:
    """Run the command line."""


if __name__ == "__main__":
    main()
