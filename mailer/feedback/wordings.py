"""What mail systems and people write, in the words they use: the patterns that reading goes by.

Each is a pattern of alternatives, to be tried on text in lower case. No repetition in them is without a
bound, as strangers write what they are tried on: the time they take grows with the text, no faster.
"""

import re


def _any_of(*wordings: str) -> re.Pattern[str]:
    """One pattern of all the wordings."""
    return re.compile("|".join(wordings))


FULL_OR_BUSY = _any_of(
    r"(?:box|storage|store|quota|dir|disk|space)\b.{0,30}?\b(?:full|exceed|overdrawn|exhausted)",
    r"over ?quota|over (?:(?:the|its|his|their|allowed|disk|storage) ){1,3}(?:quota|limit)|over limit",
    r"quota (?:exceed|violation|limit|full)",
    r"exceed\w{0,5} .{0,40}?\b(?:quota|storage|size|space|limit|maximum)",
    r"insufficient (?:system |disk )?(?:storage|space|resources)",
    r"not enough (?:storage|disk|space|room)|no (?:disk )?space left|out of (?:disk )?(?:space|storage)",
    r"(?:message|mail|size|data|attachment)\b.{0,30}?\b(?:too (?:large|big|long)|exceed)|too large|"
    r"too big",
    r"gr[ae]y ?-?list|try again later|try later|host not found, try again|temporar|throttl|too busy",
    r"rate.?limit|receiving mail (?:at a rate|too)|too many|too fast",
    r"timed? ?out|connection (?:refused|lost|dropped|reset)|no route to host|unreachable",
    r"retry time|in the queue too long|too long in queue|could not be delivered (?:for|within)",
    r"mail loop|looping|loops back|too many hops|hop count",
)
"""A refusal that may be otherwise tomorrow."""

ABOUT_US = _any_of(
    r"(?:sender|originator|helo|ehlo|client|return.path|envelope.from|mail from|"
    r"from (?:address|domain|header|host|ip))\b[^.]{0,40}?"
    r"(?:rejected|refused|denied|unknown|invalid|not exist|not found|verif|no such|blocked|not allowed|"
    r"must|required|cannot find|lookup)",
    r"(?:unknown|invalid|bad|unverified|forged) (?:sender|helo|return|client)",
    r"reverse (?:dns|lookup|hostname)|\bptr\b|\brdns\b|cannot find your (?:hostname|reverse)",
)
"""A refusal for who sends, not for who is to receive."""

_WHOM = r"(?:user|recipient|addressee|mail ?box|inbox|account|(?<!ip )address\w{0,3}|alias|subscriber)"
_NOT = r"(?:not|(?:do|does|did|is|are|was|were|has|could|can)(?: ?not|n't)(?: be)?(?: currently| a)?)"
_THERE = (
    r"(?:exist|found|known|recogni[sz]ed|valid|a valid|active|here|listed|registered|any ?more|local|"
    r"a local|hosted)"
)
_DOMAIN = r"(?:domain|host|hostname|exchanger)\b[^;:\n]{0,60}?"
GONE = _any_of(
    rf"{_WHOM}\b[^.;:\n]{{0,60}}?(?:{_NOT} {_THERE}|unknown|no longer|invalid|undeliverable|has moved|"
    r"inactive|disabled|deleted|closed|suspended|deactivated|expired|terminated)",
    r"(?:unknown|invalid|no such|non-?exist[ae]nt|not a (?:valid|known|local)|illegal|inactive|disabled|"
    r"bad destination|undeliverable|unroutable|unrouteable|obsolete|expired|dead|null|nonlocal)"
    r"(?: (?:local|email|e-mail|destination|virtual|or|illegal|inactive|final|smtp|to)){0,4}"
    r" (?:user|recipient|mailbox|address|account|alias|addressee|person|customer|mail domain|name|"
    r"local.part|mail ?drop|subscriber)s?\b",
    r"unknown local.part|\bno (?:user|mailbox|account)\b|not our customer|bad address|not listed in|"
    r"recip(?:ient)?notfound|who are you looking for|(?:no|not a) mailbox (?:here|by that name)|"
    r"does ?n[o']t have an? .{0,40}account|user .{1,64}unknown|name is not recognized",
    r"5\.4\.1\b.{0,20}recipient address rejected: access denied",  # how Exchange Online says it
    r"(?:user|mailbox|account|recipient)\b.{0,20}(?:unbekannt|inconnu|ukendt|desconocid)",
    r"existiert nicht|findes ikke|no existe|n'existe pas|okänd|tuntematon|не найден",
    r"あて先不明|見つかりません|不存在",
    # The domain of the address.
    r"(?:no such|unknown|non-?existent) (?:host|domain)s?",
    r"(?:host|domain|site)(?: name)? (?:is )?(?:unknown|invalid)",
    rf"{_DOMAIN}(?:not found|(?:couldn't|could not|cannot) be (?:found|resolved))",
    rf"{_DOMAIN}(?:does not|doesn't) (?:exist|resolve|accept (?:e-?)?mail)",
    r"nxdomain|no relevant answers|name or service not known|(?:no|null) mx\b",
    r"(?:couldn't|can't|cannot|could not) find (?:a |any )?(?:host|mail exchanger|mx)",
)
"""A refusal because the mailbox or its domain is not there."""

GONE_BEYOND_DOUBT = _any_of(
    r"(?:user|recipient|mailbox|account|addressee) (?:is )?unknown|invalid (?:recipient|mailbox|user)",
    r"5\.4\.1\b.{0,20}rejected: access denied",
    r"(?:unknown|no such) (?:user|recipient|mailbox|account|person|address)",
    r"(?:user|recipient|mailbox|account|address) (?:does not exist|doesn't exist|not found)",
)
"""The same, in words that stand even where a policy is told as well."""

PERHAPS_GONE = _any_of(r"mailbox (?:is )?(?:currently )?(?:unavailable|not available)")
"""What RFC 5321 §4.2.3 has for 550: a missing mailbox, or a policy, which is then told with it."""

POLICY = _any_of(
    r"spam|black.?list|block.?list|blocked|policy|policies|denied|dmarc|\bspf\b|dkim|reputation",
    r"not (?:authori[sz]ed|permitted|allowed)|unauthori[sz]ed|authenticat|relay|virus|malware",
    r"prohibited|banned",
    r"\brbl\b|dnsbl|spamhaus|unsolicited|content|filter|restricted|junk|refused by",
)
"""A refusal of this letter or of our server."""

DAEMON = _any_of(
    r"mailer-?daemon|postmaster|mail administrator|mail delivery|delivery (?:agent|subsystem|system)",
    r"mail.?(?:er|server|system|gateway|filter|master)|content.?filter|<>|antivirus|mmdf|smtp|"
    r"notification",
    r"symantec|daemon|mta\b",
)
"""Who sends bounces."""

FAILURE_SUBJECT = _any_of(
    r"undeliver|not? (?:be )?deliver|non.?deliver|\bndn\b|\bndr\b|bounce|deliver\w{0,5} (?:fail|error)",
    r"delivery (?:status|failure|notification|report|error|problem|has failed|failed)",
    r"fail\w{0,5} (?:delivery|notice|to deliver|mail)|unable to deliver|error sending|user unknown",
    r"return(?:ed|ing) (?:mail|message|to sender|email)|rejected mail|mail rejected",
    r"mail(?:er)? (?:system error|delivery|could not|error)",
    r"message (?:status|delivery|not|could not|undeliverable)",
    r"could ?n.t (?:be )?(?:deliver|send)|could not be (?:sent|delivered)",
    r"unzustellbar|notification d'état|kan ikke leveres|ikke (?:leveret|afleveret)|olevererbar",
    r"no se puede entregar|не доставлен|недоставлен|配信|送信|エラー|退信",
)
"""Subjects of bounces."""

FAILURE = _any_of(
    r"(?:could ?n.t|could not|can ?not|can.t|unable to|was not|wasn.t|not able to|failed to|"
    r"has not been|did not|"
    r"were not|is not|not be|never) (?:be )?"
    r"(?:able to )?(?:deliver|reach|sent|send|relay|forward|accept|complete)",
    r"undeliver|non-?deliver|deliver(?:y|ed|ing)?\b[^.\n]{0,80}?(?:fail|abort|error|problem|unsuccess|"
    r"impossible)",
    r"(?:fail|error|problem)\w{0,5}\b[^.\n]{0,40}?deliver|permanent (?:fatal )?error",
    r"was (?:rejected|returned|refused)|did not like our|were affected|returned to (?:sender|you)",
    r"(?:mail|message)\b[^.\n]{0,40}?(?:bounced|returned|rejected|refused)",
    r"user unknown|unknown user|giving up|give up|following address",
    r"送信できません|配信できません|配信不能|届きません|宛先",
)
"""Sentences of bounces."""

DELAY_SUBJECT = _any_of(r"delay|warning|still being (?:re)?tried|verzögert|forsinke|遅延")
DELAY = _any_of(
    r"warning (?:message )?only|do not need to re-?send|(?:has been|message is|delivery is) delayed",
    r"(?:will|is) (?:be |being |still be )?(?:retried|trying|try|tried|queued)|still trying|keep trying",
    r"will (?:continue|keep|still be) (?:to )?(?:be )?tr(?:y|ying|ied)|continue (?:to try|trying)",
    r"not yet (?:been )?delivered|attempts? will continue|delivery attempts will",
)
"""The letter is late and still being tried."""
GIVEN_UP = _any_of(
    r"permanent|giv(?:en|ing) up|will not (?:be )?(?:re)?tr|not going to try|no longer|has failed|"
    r"was aborted",
    r"could not be delivered for|message will be deleted|retry timeout",
)
"""The letter is no longer tried."""

AUTOMATIC_SUBJECT = re.compile(
    r"auto(?:matic|mated|matisk|matische)?[ -]?(?:reply|svar|response|answer|antwort|responder)\b|auto:|"
    r"out[ -]of[ -](?:the[ -])?office|vacation|on vacation|holiday|away from|on leave|"
    r"ikke (?:til stede|på kontoret)|fravær|ude af kontoret|ferie|på ferie|frånvaro|poissa|"
    r"abwesen|réponse automatique|respuesta automática|risposta automatica|"
    r"(?:read|læst|accepted|declined|tentative|accepteret|afvist|foreløbig):",
)
"""How subjects of automatic answers and receipts begin."""
PASSED_ON_SUBJECT = re.compile(r"(?:re|sv|vs|fwd?|aw|wg|svar|videresendt?)\s{0,3}:")
"""How subjects begin when a person answers or forwards something."""

_POLITELY = r"(?:please |venligst |kindly |jeg vil gerne |vil gerne |i want to |i would like to )?"
_SURELY = (
    r"(?:unsubscribe|unsubcribe|unsuscribe|afmeld(?:ing|e)?|frameld(?:ing|e)?|opt.?out|"
    r"no more (?:e-?)?mails?|"
    r"abmelden|avmeld(?:ing|e)?|avregistrera?|désabonner)\b"
)
_SHORTLY = r"(?:remove|delete|stop|cancel|slet|fjern)(?: me| mig| it)?(?: please)?[.!]{0,3}"
WISH_SUBJECT = re.compile(
    rf"(?:{PASSED_ON_SUBJECT.pattern}\s{{0,3}}){{0,5}}{_POLITELY}(?:{_SURELY}.{{0,40}}|{_SHORTLY})"
)
WISH_ALONE = re.compile(_SURELY)
WISH_LINE = re.compile(
    rf"{_POLITELY}(?:{_SURELY}.{{0,60}}|{_SHORTLY})|"
    r".{0,60}\b(?:unsubscribe me|remove me from|afmeld mig|frameld mig|slet mig|fjern mig|afmeldes|"
    r"frameldes|"
    r"ikke (?:have|modtage|få) flere (?:e-?)?(?:mails?|breve|beskeder)|no more (?:e-?)?mails?|"
    r"stop (?:sending|emailing|mailing)|take me off)\b.{0,80}",
)
"""Somebody asks for no more letters; to be matched in full."""
