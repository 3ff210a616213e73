"""KEDA's external scaler: a pool of the mode External is told by KEDA how many workers to have, and KEDA asks here.

| owns | does not own | needs |
|---|---|---|
| the messages of KEDA's protocol (`wire`) | the number of workers, how long it holds (`autoscale`) | protobuf |
| what KEDA is answered (`answers`) | what KEDA makes of it (its HPA), who leaves a pool (`plan.pool`) | nothing |
| the server and its bounds (`server`) | who may connect (the chart's NetworkPolicy) | grpcio, Redis |

Every replica of the operator answers alike, whether it leads or not: the leader tells Redis what it recommends, and
that is what is read. Where nobody has told it for half a minute there is no answer (`UNAVAILABLE`), and KEDA keeps what
is.
"""
