"""``python -m release_agent`` is ``release-agent``."""

from release_agent.cli.main import main

if __name__ == "__main__":
    main()
