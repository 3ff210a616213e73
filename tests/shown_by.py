"""Product modules without a test module of their name, under the test module that shows what they do.

Tests stand at `tests/<part>/<room>/test_<module>.py`. These are the exceptions: parts of one thing that only show
together (a protocol's frames, an endpoint's steps, the painter of the mock engine), tables and types without behaviour,
and thin shells that only a whole gateway, worker or operator drives. `tests/test_modules.py` holds both ways.
"""

from typing import Final


def _in(room: str, *names: str) -> tuple[str, ...]:
    """`_in("core/link", "client")` is core/link/client.py."""
    return tuple(f"{room}/{name}.py" for name in names)


SHOWN_BY: Final[dict[str, tuple[str, ...]]] = {
    "test_bounds.py": (*_in("core", "bounds"), *_in("gateway/rtc/transport", "sctp")),
    # -- core ---------------------------------------------------------------------------------------------------------
    "core/approximation/test_allocate.py": _in("core/approximation", "options", "plan"),
    "core/claims/test_claims.py": _in("core/claims", "arguments", "facts", "identity", "keys", "replies"),
    "core/claims/test_claims_machine.py": _in("core/claims", "lua"),
    "core/claims/test_record.py": _in("core/claims", "price_list"),
    "core/crds/test_crd.py": _in("core/crds", "reference", "structural"),
    "core/levelling/test_orders.py": _in("core/levelling", "planning"),
    "core/levelling/test_told.py": _in("core/levelling", "scaling"),
    "core/link/test_protocol.py": _in(
        "core/link", "channels", "events", "handshake", "liveness", "messages", "reception"
    ),
    "core/link/test_connection.py": _in("core/link", "client", "closure", "server"),
    "core/metrics/test_bundle.py": _in("core/metrics", "document", "gateway", "levelling", "operator", "worker"),
    "core/sizing/test_placement.py": _in("core/sizing", "candidates"),
    "core/spec/test_manifest.py": _in("core/spec", "documents", "mistakes", "rules"),
    "core/spec/test_quantities.py": _in("core", "durations"),
    "core/stream_state/test_snapshot.py": _in("core/stream_state", "container", "tensors"),
    "core/stream_state/test_snapshot_store.py": _in("core/stream_state", "keys", "lua"),
    "core/situation/test_situation.py": _in("core/situation", "facts", "states", "table", "words"),
    "core/slo/test_report.py": _in("core", "media"),
    "core/test_store.py": _in("core", "errors", "clock"),
    # -- operator -----------------------------------------------------------------------------------------------------
    "operator/kube/test_client_faults.py": _in("operator/kube", "api", "credentials", "errors"),
    "operator/kube/test_lease.py": _in("operator", "election", "leader"),
    "operator/plan/pool/test_plan.py": _in(
        "operator/plan/pool", "limits", "outcome", "pod_placement", "start_up", "worker_environment"
    ),
    "operator/plan/pool/test_plan_faults.py": _in("operator", "plan/pool/members"),
    "operator/plan/session/test_plan.py": _in("operator", "actions", "observed"),
    "operator/plan/session/test_plan_changes.py": _in("operator", "plan/session/steps"),
    "operator/plan/session/test_status.py": ("core/spec/status.py", "operator/plan/session/telling.py"),
    "operator/test_settings.py": _in("operator", "main", "plan/policy"),
    "operator/test_crashes.py": _in("operator", "operator", "reconcile/executor"),
    "operator/test_pools.py": _in("operator", "elasticity"),
    "operator/test_sessions.py": _in("operator", "watch/watcher", "watch/no_history"),
    "operator/reconcile/test_mistaken_pool.py": _in("operator/reconcile", "pool"),
    "operator/reconcile/test_store_state.py": _in("operator", "reconcile/session", "watch/caches"),
    "operator/reconcile/test_store_watch.py": _in("operator/reconcile", "pending", "resync", "start_ups"),
    # -- worker -------------------------------------------------------------------------------------------------------
    "worker/intake/test_decoder.py": ("worker/intake/decode.py",),
    "worker/intake/out_of_process/test_same_pictures.py": (
        "worker/intake/decoding.py",
        "worker/intake/out_of_process/child.py",
    ),
    "worker/intake/out_of_process/test_faults.py": _in(
        "worker/intake/out_of_process", "decoder", "nursery", "nursery_process", "process"
    ),
    "worker/engines/mock/test_engine.py": (
        "worker/engines/contract.py",
        *_in(
            "worker/engines/mock", "latents", "media", "paint", "session", "surface", "text_only", "textures", "words"
        ),
    ),
    "worker/engines/diffusion/test_engine.py": _in(
        "worker/engines/diffusion",
        "config",
        "loading",
        "options",
        "streaming/in_flight",
        "streaming/session",
        "streaming/shared",
    ),
    "worker/engines/diffusion/test_components.py": _in(
        "worker/engines/diffusion/weights",
        "kinds",
        "random_vae",
        "random_weights",
        "skeletons",
        "text_loading",
        "vae_loading",
    ),
    "worker/engines/diffusion/weights/test_checkpoints.py": _in(
        "worker/engines/diffusion", "errors", "weights/key_names"
    ),
    "worker/engines/diffusion/network/test_transformer.py": _in("worker/engines/diffusion/network", "row_batch"),
    "worker/engines/diffusion/network/test_vae.py": _in(
        "worker/engines/diffusion/network/coding", "caches", "causal_conv", "coders", "wan_coders"
    ),
    "worker/engines/diffusion/network/coding/test_tiny_decoder.py": _in(
        "worker/engines/diffusion/network/coding", "tiny_block"
    ),
    "worker/engines/diffusion/streaming/test_stop.py": _in("worker/engines/diffusion/streaming", "one_thread"),
    "worker/engines/diffusion/test_memory.py": _in("worker/engines/diffusion", "room", "streaming/admission"),
    "worker/engines/diffusion/streaming/test_batches.py": _in("worker/engines/diffusion/streaming", "unjudged"),
    "worker/engines/diffusion/streaming/test_micro_step.py": _in("worker/engines/diffusion/streaming", "row_work"),
    "worker/engines/diffusion/test_found_by_faults.py": _in("worker/engines/diffusion/streaming", "row_cache"),
    "worker/engines/diffusion/snapshots/test_hostile_snapshots.py": _in(
        "worker/engines/diffusion", "snapshots/state_facts", "streaming/kept"
    ),
    "worker/engines/diffusion/snapshots/test_state.py": _in("worker/engines/diffusion", "streaming/transfers"),
    "cli/test_models.py": _in("worker/engines/diffusion/weights", "conversion", "fetching", "verification"),
    "worker/intake/test_own_sources.py": _in("worker/intake", "file", "pattern", "prompt_only", "source"),
    "worker/preview/test_tap.py": _in("worker", "preview/picture_channel"),
    "worker/profiling/test_measure.py": _in("worker/profiling", "device", "streams"),
    "worker/rows/test_engine_loop.py": _in(
        "worker/rows", "checkpoint", "engine_client", "engine_thread", "listener", "prompt_queue"
    ),
    "worker/rows/test_batches.py": _in("worker/rows", "open_sessions"),
    "worker/session/test_figures.py": _in("worker/session", "reports"),
    "worker/snapshots/test_writer.py": _in("worker", "snapshots/format"),
    "worker/test_worker.py": (*_in("worker", "output/gateway_channel", "output/output"),),
    "worker/engines/mock/test_submissions.py": _in("worker/engines/mock", "device"),
    # -- gateway ------------------------------------------------------------------------------------------------------
    "gateway/edge/test_acceptor.py": _in("gateway/edge", "descriptors", "protocol", "watch"),
    "gateway/edge/test_entrance.py": _in("gateway/web", "ports"),
    "gateway/test_main.py": _in("gateway", "gateway"),
    "gateway/access/test_access.py": _in("gateway", "access/problems"),
    "gateway/preview/test_watches.py": _in("gateway", "preview/absence"),
    "gateway/rtc/test_media_plane.py": _in("gateway/rtc", "egress/viewer", "transport/aiortc_private"),
    "gateway/rtc/egress/test_fanout.py": _in("gateway/rtc", "egress/viewer_stream"),
    "gateway/rtc/ingest/test_receive.py": _in("gateway/rtc", "transport/peer", "ingest/rtp_source"),
    "gateway/rtc/ingest/test_h264_pictures.py": _in("gateway/rtc/ingest", "picture"),
    "gateway/rtc/sdp/test_offer.py": _in(
        "gateway/rtc/sdp", "answer", "offer_error", "offered_transport", "sdp", "video_format"
    ),
    "gateway/rtc/sdp/test_trickle.py": _in("gateway/rtc/sdp", "candidate", "ice_credentials"),
    "gateway/sessions/upstream/test_upstream.py": _in("gateway/sessions/upstream", "shared_parts"),
    "gateway/test_sessions_api.py": _in("gateway", "web/api", "web/app"),
    "gateway/test_process.py": _in("gateway", "web/health"),
    "gateway/web/test_routes.py": _in("gateway/web", "methods"),
    "gateway/web/description/test_document.py": _in("gateway/web/description", "messages", "operations"),
    "gateway/test_signalling.py": _in(
        "gateway/web/signalling", "events", "forward", "offers", "peers", "session_urls", "whep", "whip"
    ),
    # -- command ------------------------------------------------------------------------------------------------------
    "cli/clients/test_signalling.py": _in("cli", "clients/whep"),
    "cli/running/test_status.py": _in("cli", "output"),
    "cli/test_app.py": _in("cli", "target_options"),
    "cli/test_main.py": _in("cli/session", "command"),
    "cli/pool/test_command.py": _in("cli/pool", "told"),
    "cli/test_options.py": _in("cli", "worker_options"),
    "process/test_live.py": _in("cli", "clients/whip", "publish"),
    "cli/test_reference.py": _in("cli/reference", "bounds_page", "command_page", "page", "values_schema"),
    "cli/up/test_command.py": _in("cli/up", "command_options", "table", "view"),
}
