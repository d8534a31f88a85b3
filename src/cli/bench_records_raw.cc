// The yardstick of bench records: the same changes written by hand with the SQLite C API, on the
// tables, indexes and settings of the sqlite engine, by one connection that has nobody to wait for.
#include <fmt/format.h>

#include <memory>

#include "base/result.h"
#include "cli/bench_raw.h"
#include "cli/bench_records.h"
#include "cli/bench_scenarios.h"

namespace holdfast::cli {
namespace {

constexpr std::int64_t kTickets = 64;
constexpr std::int64_t kSequence = 1'000'000'000;  // of the run's first audit entry: any will do

// {"kind" is ?1, "id" ?2, now ?3, the amount ?4}
constexpr const char* kInsertRecord =
    "INSERT INTO records (kind, id, version, status, data, created_at, updated_at, updated_by)"
    " VALUES (?1, ?2, 1, ?5, ?6, ?3, ?3, 'bench')";
constexpr const char* kIncrement =
    "UPDATE records SET version = version + 1, updated_at = ?3, updated_by = 'bench',"
    " data = json_set(data, '$.n', json_extract(data, '$.n') + ?4) WHERE kind = ?1 AND id = ?2";
constexpr const char* kMove =
    "UPDATE records SET version = version + 1, updated_at = ?3, updated_by = 'bench',"
    " data = json_set(data, '$.balance', json_extract(data, '$.balance') + ?4)"
    " WHERE kind = ?1 AND id = ?2 AND json_extract(data, '$.balance') + ?4 >= 0";
constexpr const char* kTransition =
    "UPDATE records SET version = version + 1, updated_at = ?3, updated_by = 'bench',"
    " status = iif(status = 'OPEN', 'DONE', 'OPEN') WHERE kind = ?1 AND id = ?2";
constexpr const char* kVersionOfRecord = "SELECT version FROM records WHERE kind = ?1 AND id = ?2";
constexpr const char* kAudit =
    "INSERT INTO audit (sequence, at, actor, operation, target, old_status, new_status, token,"
    " lock_wait_us, commit_us, correlation_id, details, error, count, old_version, new_version)"
    " VALUES (?1, ?2, 'bench', ?3, ?4, ?5, ?6, 0, 100, 100, '', '', '', 1, 1, 2)";
constexpr const char* kInsertTransfer =
    "INSERT INTO transfers (id, from_kind, from_id, to_kind, to_id, path, amount, posted, state,"
    " created_at, finished_at, created_by)"
    " VALUES (?1, ?2, ?3, ?2, ?4, '/balance', ?5, ?5, 'posted', ?6, ?6, 'bench')";
constexpr const char* kInsertJob =
    "INSERT INTO jobs (id, queue, kind, state, priority, run_at, attempt, max_attempts, token,"
    " lease_expiries, cancel_requested, created_at, unique_states, payload, ready_in)"
    " VALUES (?1, 'bench', 'bench', 'pending', 4, ?2, 0, 25, 0, 0, 0, ?2, 0, 'null', 'bench')";
constexpr const char* kCount = "UPDATE counters SET last_audit = ?1, last_time = ?2";

void Bind(const RawStatement& statement, int index, std::int64_t value) {
  sqlite3_bind_int64(statement.get(), index, value);
}
/// `text` must stay as it is until the statement has run.
void Bind(const RawStatement& statement, int index, std::string_view text) {
  sqlite3_bind_text(statement.get(), index, text.data(), static_cast<int>(text.size()),
                    SQLITE_STATIC);
}

class RawRecords {
 public:
  Result<void> Open(const std::string& path) {
    HF_RETURN_IF_ERROR(db_.Open(path));
    return db_.PrepareAll({{&insert_, kInsertRecord},
                           {&increment_, kIncrement},
                           {&move_, kMove},
                           {&transition_, kTransition},
                           {&version_, kVersionOfRecord},
                           {&audit_, kAudit},
                           {&transfer_, kInsertTransfer},
                           {&job_, kInsertJob},
                           {&count_, kCount}});
  }

  Result<void> Fill(std::string_view kind, std::int64_t count, std::string_view status,
                    std::string_view data) {
    HF_RETURN_IF_ERROR(db_.Execute("BEGIN IMMEDIATE"));
    for (std::int64_t i = 0; i < count; ++i) {
      std::string id = IdOf(i);
      BindTarget(insert_, kind, id);
      Bind(insert_, 5, status);
      Bind(insert_, 6, data);
      HF_RETURN_IF_ERROR(db_.Run(insert_));
    }
    return db_.Execute("COMMIT");
  }

  /// `group` commits of the sort that `one` makes, in one transaction.
  template <typename One>
  Result<void> Group(int group, One one) {
    HF_RETURN_IF_ERROR(db_.Execute("BEGIN IMMEDIATE"));
    ++time_;
    for (int i = 0; i < group; ++i) HF_RETURN_IF_ERROR(one(*this));
    Bind(count_, 1, sequence_);
    Bind(count_, 2, time_);
    HF_RETURN_IF_ERROR(db_.Run(count_));
    return db_.Execute("COMMIT");
  }

  Result<void> Increment(std::int64_t records) {
    std::string id = IdOf(Draw(records));
    HF_RETURN_IF_ERROR(Update(increment_, "bench_counter", id, 1));
    return Audit("record.increment", "bench_counter", id, "", "");
  }

  Result<void> Transfer() {
    std::int64_t index = Draw(kSpreadRecords);
    std::string from = IdOf(index);
    std::string to = IdOf((index + 1 + Draw(kSpreadRecords - 1)) % kSpreadRecords);
    std::int64_t amount = 1 + Draw(100);
    HF_RETURN_IF_ERROR(Update(move_, "bench_account", from, -amount));
    HF_RETURN_IF_ERROR(Update(move_, "bench_account", to, amount));
    Bind(transfer_, 1, ++last_id_);
    Bind(transfer_, 2, "bench_account");
    Bind(transfer_, 3, from);
    Bind(transfer_, 4, to);
    Bind(transfer_, 5, amount);
    Bind(transfer_, 6, time_);
    HF_RETURN_IF_ERROR(db_.Run(transfer_));
    HF_RETURN_IF_ERROR(Audit("transfer", "bench_account", from, "", ""));
    return Audit("transfer", "bench_account", to, "", "");
  }

  Result<void> Transition() {
    std::string id = IdOf(Draw(kTickets));
    HF_RETURN_IF_ERROR(Update(transition_, "bench_ticket", id, 0));
    return Audit("record.transition", "bench_ticket", id, "OPEN", "DONE");
  }

  Result<void> Mixed() {
    std::string id = IdOf(Draw(kTickets));
    Bind(version_, 1, "bench_ticket");
    Bind(version_, 2, id);
    bool found = sqlite3_step(version_.get()) == SQLITE_ROW;
    sqlite3_reset(version_.get());
    if (!found) return db_.Broken();
    HF_RETURN_IF_ERROR(Increment(kSpreadRecords));
    HF_RETURN_IF_ERROR(Update(transition_, "bench_ticket", id, 0));
    HF_RETURN_IF_ERROR(Audit("record.transition", "bench_ticket", id, "OPEN", "DONE"));
    Bind(job_, 1, ++last_id_);
    Bind(job_, 2, time_);
    return db_.Run(job_);
  }

 private:
  static std::string IdOf(std::int64_t index) {
    return fmt::format("spread-0badcafe-{:05}", index);
  }

  std::int64_t Draw(std::int64_t below) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::int64_t>(state_ % static_cast<std::uint64_t>(below));
  }

  void BindTarget(const RawStatement& statement, std::string_view kind, std::string_view id) {
    Bind(statement, 1, kind);
    Bind(statement, 2, id);
    Bind(statement, 3, time_);
  }

  Result<void> Update(const RawStatement& statement, std::string_view kind, std::string_view id,
                      std::int64_t amount) {
    BindTarget(statement, kind, id);
    if (sqlite3_bind_parameter_count(statement.get()) > 3) Bind(statement, 4, amount);
    HF_RETURN_IF_ERROR(db_.Run(statement));
    if (db_.changes() == 1) return {};
    return Fail(ErrorCode::kInternal, fmt::format("no row of {} was updated", kind));
  }

  Result<void> Audit(std::string_view operation, std::string_view kind, std::string_view id,
                     std::string_view old_status, std::string_view new_status) {
    std::string target = fmt::format("{}/{}", kind, id);
    Bind(audit_, 1, ++sequence_);
    Bind(audit_, 2, time_);
    Bind(audit_, 3, operation);
    Bind(audit_, 4, target);
    Bind(audit_, 5, old_status);
    Bind(audit_, 6, new_status);
    return db_.Run(audit_);
  }

  RawDatabase db_;
  RawStatement insert_, increment_, move_, transition_, version_, audit_, transfer_, job_, count_;
  std::uint64_t state_ = 88172645463325252;
  std::int64_t sequence_ = kSequence;
  std::int64_t last_id_ = 0;
  std::int64_t time_ = 1'767'225'600'000'000;
};

using One = Result<void> (*)(RawRecords& raw);

One StatementsOf(std::string_view scenario) {
  if (scenario == "hot") return [](RawRecords& raw) { return raw.Increment(1); };
  if (scenario == "spread") return [](RawRecords& raw) { return raw.Increment(kSpreadRecords); };
  if (scenario == "transfer") return [](RawRecords& raw) { return raw.Transfer(); };
  if (scenario == "transition") return [](RawRecords& raw) { return raw.Transition(); };
  return [](RawRecords& raw) { return raw.Mixed(); };
}

}  // namespace

Result<double> MeasureRawRecords(const std::string& file, std::string_view scenario, int group,
                                 Duration length) {
  RawRecords raw;
  HF_RETURN_IF_ERROR(raw.Open(file));
  HF_RETURN_IF_ERROR(raw.Fill("bench_counter", kSpreadRecords, "", R"({"n":0})"));
  HF_RETURN_IF_ERROR(raw.Fill("bench_account", kSpreadRecords, "",
                              fmt::format(R"({{"balance":{}}})", kBenchBalance)));
  HF_RETURN_IF_ERROR(raw.Fill("bench_ticket", kTickets, "OPEN", R"({"title":"a ticket"})"));
  One one = StatementsOf(scenario);
  auto start = std::chrono::steady_clock::now();
  std::int64_t done = 0;
  while (std::chrono::steady_clock::now() - start < length) {
    HF_RETURN_IF_ERROR(raw.Group(group, one));
    done += group;
  }
  auto took = std::chrono::steady_clock::now() - start;
  return static_cast<double>(done) / std::chrono::duration<double>(took).count();
}

}  // namespace holdfast::cli
