"""What Genlock is made of: read from the locks of `requirements/`, told to others, asked after. No part of the product.

| module | what it does | what it needs |
|---|---|---|
| `locks` | reads a lock file | the standard library |
| `bom` | one part of Genlock as a bill of materials, CycloneDX 1.5 | what is installed here; cyclonedx-python-lib |
| `sbom` | `make sbom`: a file for each part | `bom` |
| `advisories` | `make advisories`: is anything known of a package that we use | pip-audit (`build/supply`), a network |

How the locks come to be: `requirements/lock`. What the images stand on: `images/base.lock`.
"""
