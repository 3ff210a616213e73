"""What every process of Genlock does alike: read its options, log, keep and end its tasks, answer probes, heed signals.

| owns | does not own | needs |
|---|---|---|
| how options are declared, written and checked; the shape of a log line; how an address is written, which addresses are one client | which options a part has | nothing but Python |
| how tasks end; what a signal means; probes over HTTP | who is alive, who is ready | nothing but Python |
"""  # noqa: E501 - a table
