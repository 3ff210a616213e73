-- snapshot_bookings() -> {budget, bytes that are booked}
return {text(snapshot_budget()), text(booked_in_all())}
