// Records, kinds and transfers, written; and the columns of a record's row.
#include "wire/encode.h"
#include "wire/fields.h"

namespace holdfast::wire {
namespace {

using base::JsonWriter;

void WriteReservations(JsonWriter& json, const std::vector<Reservation>& reservations) {
  json.BeginArray();
  for (const Reservation& reservation : reservations) {
    json.BeginObject();
    json.Field("path", reservation.path);
    json.Field("amount", reservation.amount);
    json.EndObject();
  }
  json.EndArray();
}

void WriteChildren(JsonWriter& json, const std::vector<ChildCount>& children) {
  json.BeginArray();
  for (const ChildCount& child : children) {
    json.BeginObject();
    json.Field("kind", child.kind);
    TextField(json, "status", child.status);
    json.Field("count", child.count);
    json.EndObject();
  }
  json.EndArray();
}

}  // namespace

void WriteRecord(JsonWriter& json, const Record& record) {
  json.BeginObject();
  json.Field("kind", record.kind);
  json.Field("id", record.id);
  json.Field("version", record.version);
  TextField(json, "status", record.status);
  if (!record.data.empty()) RawField(json, "data", record.data);
  if (record.parent) KeyField(json, "parent", *record.parent);
  TimeField(json, "created_at", record.created_at);
  TimeField(json, "updated_at", record.updated_at);
  TextField(json, "updated_by", record.updated_by);
  TimeField(json, "expires_at", record.expires_at);
  if (record.fence != 0) IdField(json, "fence", record.fence);
  if (!record.reserved.empty()) {
    json.Key("reserved");
    WriteReservations(json, record.reserved);
  }
  if (!record.children.empty()) {
    json.Key("children");
    WriteChildren(json, record.children);
  }
  json.EndObject();
}

void WriteKind(JsonWriter& json, const Kind& kind) {
  json.BeginObject();
  json.Field("name", kind.name);
  json.Field("version", kind.version);
  RawField(json, "rules", kind.rules);
  TimeField(json, "updated_at", kind.updated_at);
  TextField(json, "updated_by", kind.updated_by);
  json.EndObject();
}

void WriteTransfer(JsonWriter& json, const Transfer& transfer) {
  json.BeginObject();
  IdField(json, "id", transfer.id);
  KeyField(json, "from", transfer.from);
  KeyField(json, "to", transfer.to);
  json.Field("path", transfer.path);
  json.Field("amount", transfer.amount);
  json.Field("posted", transfer.posted);
  json.Field("state", NameOf(transfer.state));
  TimeField(json, "created_at", transfer.created_at);
  TimeField(json, "expires_at", transfer.expires_at);
  TimeField(json, "finished_at", transfer.finished_at);
  TextField(json, "created_by", transfer.created_by);
  json.EndObject();
}

std::string EncodeReservations(const std::vector<Reservation>& reservations) {
  return ToText(WriteReservations, reservations);
}

std::string EncodeChildren(const std::vector<ChildCount>& children) {
  return ToText(WriteChildren, children);
}

}  // namespace holdfast::wire
