"""What is written from the declarations of options: `docs/options.md`, `docs/command.md`, and the part of the chart's
schema that mirrors them. It stands in the command, because only the command may import every part.

    python -m genlock_cli.reference

writes them anew, in the checkout that it is started in. Tests keep them true.

| owns | does not own | needs |
|---|---|---|
| the form of the pages and of the schema | the options (each part's `settings`) | nothing |
"""
