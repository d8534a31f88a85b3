// What commands print: aligned tables, times and states for people to read, errors in one line.
#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_writer.h"
#include "base/printable.h"
#include "holdfast/audit.h"
#include "holdfast/job.h"
#include "holdfast/lock.h"
#include "holdfast/queue.h"
#include "holdfast/record.h"

namespace holdfast::cli {

using base::Printable;
using base::PrintableJson;

enum class OutputFormat { kTable, kJson };

struct Column {
  std::string title;
  bool right = false;  ///< numbers are aligned to the right
};

/// Rows in aligned columns.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// One cell per column. Text that came from outside goes through Printable first.
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string Render() const;
  void Print() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// "2026-11-23 08:15:30", or "-".
std::string ShortTime(const std::optional<Time>& time);

/// "3.2s", "12m", "4h", "2d": how long, to two digits or so.
std::string RoughDuration(Duration duration);

/// "1,234,567".
std::string WithCommas(std::int64_t number);

/// The name of the state; in colour on a terminal, unless NO_COLOR is set.
std::string Paint(JobState state);

/// "not_found: job 7 does not exist", and the detail that helps a person.
std::string Describe(const Error& error);

/// A name and its value, aligned with those above.
void PrintLine(std::string_view name, std::string_view value);

/// One line of JSON to stdout.
void PrintJson(const base::JsonWriter& json);

/// {"<name>":[...],"next_cursor":...} to stdout, the latter only if there is more.
template <typename Item>
void PrintList(std::string_view name, const std::vector<Item>& items,
               const std::string& next_cursor, void (*write)(base::JsonWriter&, const Item&)) {
  base::JsonWriter json;
  json.BeginObject();
  json.Key(name);
  json.BeginArray();
  for (const Item& item : items) write(json, item);
  json.EndArray();
  if (!next_cursor.empty()) json.Field("next_cursor", next_cursor);
  json.EndObject();
  PrintJson(json);
}

/// One job: as the API's object, or as lines of name and value.
void PrintJob(const Job& job, OutputFormat format);

/// "TOKEN" is shown only for jobs that this process claimed.
void PrintJobs(const std::vector<Job>& jobs, bool with_tokens);

void PrintRecord(const Record& record, OutputFormat format);
void PrintRecords(const std::vector<Record>& records);
void PrintTransfer(const Transfer& transfer, OutputFormat format);
void PrintTransfers(const std::vector<Transfer>& transfers);
void PrintKinds(const std::vector<Kind>& kinds);
/// `now`: by the clock that judges the leases.
void PrintLock(const Lock& lock, Time now);
void PrintLocks(const std::vector<Lock>& locks, Time now);
/// One as lines of name and value, several as a table.
void PrintGrants(const std::vector<LockGrant>& grants);

}  // namespace holdfast::cli
