-- Makes fields of the comments in a capture by `wrapwatch export --to pcapng`, to filter by:
--
--   tshark -X lua_script:wrapwatch.lua -r db.pcapng -Y 'wrapwatch.outcome == "timeout"'
--
-- In Wireshark: put this file into the personal Lua plugins folder (Help, About, Folders).

local wrapwatch = Proto("wrapwatch", "wrapwatch")

local fields = {
  conn = ProtoField.uint64("wrapwatch.conn", "Connection"),
  pid = ProtoField.uint32("wrapwatch.pid", "Server process"),
  tid = ProtoField.uint32("wrapwatch.tid", "Accept thread"),
  client = ProtoField.string("wrapwatch.client", "Client"),
  client_outcome = ProtoField.string("wrapwatch.client_outcome", "What became of the client"),
  lookup = ProtoField.string("wrapwatch.lookup", "Lookup"),
  thread = ProtoField.string("wrapwatch.thread", "Who waits"),
  outcome = ProtoField.string("wrapwatch.outcome", "What became of the query"),
  rtt_ns = ProtoField.uint64("wrapwatch.rtt_ns", "Until the answer, or waited in vain (ns)"),
  rule = ProtoField.string("wrapwatch.rule", "Rule"),
  rule_text = ProtoField.string("wrapwatch.rule_text", "Rule's text"),
}
local numbers = { conn = "u64", pid = "u32", tid = "u32", rtt_ns = "u64" }
local all = {}
for _, field in pairs(fields) do
  all[#all + 1] = field
end
wrapwatch.fields = all

local comment_of = Field.new("frame.comment")

function wrapwatch.dissector(_, _, tree)
  local comment = comment_of()
  local said = comment and tostring(comment):match("^wrapwatch (.*)$")
  if not said then
    return
  end
  local branch = tree:add(wrapwatch, "wrapwatch")
  -- The rule's text has spaces, and is the last.
  local words, text = said:match("^(.-) rule_text=(.*)$")
  for key, value in (words or said):gmatch("(%S-)=(%S+)") do
    local field = fields[key]
    if field and numbers[key] == "u64" then
      branch:add(field, UInt64(value))
    elseif field and numbers[key] then
      branch:add(field, tonumber(value))
    elseif field then
      branch:add(field, value)
    end
  end
  if text then
    branch:add(fields.rule_text, text)
  end
end

register_postdissector(wrapwatch)
