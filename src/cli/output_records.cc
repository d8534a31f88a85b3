// How records, kinds and transfers are printed.
#include <fmt/format.h>

#include "cli/output.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

std::string OrDash(std::string_view text, std::size_t most = 4096) {
  return text.empty() ? "-" : Printable(text, most);
}

std::string ByWhom(const std::optional<Time>& time, const std::string& actor) {
  return actor.empty() ? ShortTime(time)
                       : fmt::format("{} by {}", ShortTime(time), Printable(actor));
}

}  // namespace

void PrintRecord(const Record& record, OutputFormat format) {
  if (format == OutputFormat::kJson) {
    base::JsonWriter json;
    wire::WriteRecord(json, record);
    return PrintJson(json);
  }
  PrintLine("record", ToString(record.key()));
  PrintLine("version", std::to_string(record.version));
  if (!record.status.empty()) PrintLine("status", Printable(record.status));
  if (record.expires_at) PrintLine("status ends", ShortTime(record.expires_at));
  if (record.parent) PrintLine("parent", ToString(*record.parent));
  PrintLine("created", ShortTime(record.created_at));
  PrintLine("updated", ByWhom(record.updated_at, record.updated_by));
  for (const Reservation& reservation : record.reserved) {
    PrintLine("reserved",
              fmt::format("{} of {}", WithCommas(reservation.amount), Printable(reservation.path)));
  }
  for (const ChildCount& children : record.children) {
    PrintLine("children",
              fmt::format("{} {}{}", WithCommas(children.count), children.kind,
                          children.status.empty() ? "" : ", " + Printable(children.status)));
  }
  PrintLine("data", Printable(record.data));
}

void PrintRecords(const std::vector<Record>& records) {
  Table table({{"ID"}, {"VERSION", true}, {"STATUS"}, {"PARENT"}, {"UPDATED"}, {"BY"}, {"DATA"}});
  for (const Record& record : records) {
    table.AddRow({record.id, std::to_string(record.version), OrDash(record.status),
                  record.parent ? ToString(*record.parent) : "-", ShortTime(record.updated_at),
                  OrDash(record.updated_by, 40), Printable(record.data, 80)});
  }
  table.Print();
}

void PrintTransfer(const Transfer& transfer, OutputFormat format) {
  if (format == OutputFormat::kJson) {
    base::JsonWriter json;
    wire::WriteTransfer(json, transfer);
    return PrintJson(json);
  }
  PrintLine("transfer", std::to_string(transfer.id));
  PrintLine("state", NameOf(transfer.state));
  PrintLine("from", ToString(transfer.from));
  PrintLine("to", ToString(transfer.to));
  PrintLine("path", Printable(transfer.path));
  PrintLine("amount", WithCommas(transfer.amount));
  PrintLine("posted", WithCommas(transfer.posted));
  PrintLine("created", ByWhom(transfer.created_at, transfer.created_by));
  if (transfer.expires_at) PrintLine("ends", ShortTime(transfer.expires_at));
  if (transfer.finished_at) PrintLine("finished", ShortTime(transfer.finished_at));
}

void PrintTransfers(const std::vector<Transfer>& transfers) {
  Table table({{"ID", true},
               {"STATE"},
               {"FROM"},
               {"TO"},
               {"PATH"},
               {"AMOUNT", true},
               {"POSTED", true},
               {"CREATED"},
               {"ENDS"}});
  for (const Transfer& transfer : transfers) {
    table.AddRow({std::to_string(transfer.id), std::string(NameOf(transfer.state)),
                  ToString(transfer.from), ToString(transfer.to), Printable(transfer.path, 40),
                  WithCommas(transfer.amount), WithCommas(transfer.posted),
                  ShortTime(transfer.created_at), ShortTime(transfer.expires_at)});
  }
  table.Print();
}

void PrintKinds(const std::vector<Kind>& kinds) {
  Table table({{"KIND"}, {"VERSION", true}, {"UPDATED"}, {"BY"}});
  for (const Kind& kind : kinds) {
    table.AddRow({kind.name, std::to_string(kind.version), ShortTime(kind.updated_at),
                  OrDash(kind.updated_by, 40)});
  }
  table.Print();
}

}  // namespace holdfast::cli
