/* report_style.c - how pictures and the page look, in light and in dark, and the script that tells values under a pointer.
 * The script needs nothing but what stands in the pictures (data-v: "x y," for each point of a path, in its order); without
 * it everything is still there to be seen. */
#include <string.h>

#include "report.h"

/* Colours by name, in light and in dark. On a page they are variables; in a picture of its own, which other programs read
 * that know no variables, they are written out. */
struct tone { const char *name, *light, *dark; };
static const struct tone tones[] = {
    {"c0", "#2463c4", "#78aaf5"}, {"c1", "#c2500b", "#f2a25c"}, {"c2", "#0d8060", "#4fc9a4"}, {"c3", "#9a3aa8", "#d88ae6"},
    {"c4", "#8a6d00", "#d9bf4e"}, {"c5", "#c42a4f", "#f5809b"}, {"c6", "#3f8a1c", "#95d16c"}, {"c7", "#5d5d6b", "#a9abbd"},
    {"ink", "#1d2129", "#e8eaf0"}, {"soft", "#616775", "#9ba1b0"}, {"hair", "#e4e6ec", "#2c3039"}, {"sheet", "#fff", "#1b1e25"},
    {"warn", "#c4320a", "#ff8a5c"}, {"h0", "#f4f6fb", "#1d222c"}, {"h1", "#e4ebf7", "#1f2a3c"}, {"h2", "#d0def2", "#20334e"},
    {"h3", "#b7ceec", "#213d62"}, {"h4", "#9bbbe5", "#234877"}, {"h5", "#7ea6dc", "#27558e"}, {"h6", "#6291d2", "#2f65a8"},
    {"h7", "#487bc5", "#3f79c2"}, {"h8", "#3166b5", "#5b92d9"}, {"h9", "#1f519f", "#83b3f0"}, {"h10", "#f2a65a", "#f2a65a"},
    {"h11", "#dd6b20", "#dd6b20"}, {"h12", "#b02a0c", "#c4401f"},
};
enum { TONES = sizeof tones / sizeof tones[0] };

static const char layout[] =
    ".chart text{font:12px system-ui,-apple-system,\"Segoe UI\",sans-serif}.chart .tick,.chart .name,"
    ".chart .rule-name{font-size:11px}"
    ".chart .title{font-size:15px;font-weight:600}\n"
    ".grid,.axis,.rule,.line,.dots,.horizon,.warn{fill:none}.rule{stroke-dasharray:2 3}.line{stroke-width:1.8;"
    "stroke-linejoin:round;"
    "stroke-linecap:round}.faint{opacity:.3;stroke-width:1}.dots{stroke-width:5;stroke-linecap:round}"
    ".d1{stroke-dasharray:7 4}"
    ".d2{stroke-dasharray:2 4}.d3{stroke-dasharray:9 3 2 3}.warn{stroke-dasharray:3 3;opacity:.45}.horizon{stroke-width:1.8}"
    ".over{fill:none;pointer-events:all}.chart .rule-name{paint-order:stroke;stroke-width:4px}\n";

/* Each "$name" is a colour. */
static const char colours[] =
    ".chart text{fill:$ink}.chart .tick,.chart .name{fill:$soft}.back{fill:$sheet}.grid{stroke:$hair}.axis{stroke:$soft}"
    ".rule{stroke:$ink}"
    ".chart .rule-name{stroke:$sheet}.warn{stroke:$warn}.flag{fill:$warn}.horizon{stroke:$ink}\n"
    ".c0{stroke:$c0}.c1{stroke:$c1}.c2{stroke:$c2}.c3{stroke:$c3}.c4{stroke:$c4}.c5{stroke:$c5}.c6{stroke:$c6}"
    ".c7{stroke:$c7}\n"
    ".h0{fill:$h0}.h1{fill:$h1}.h2{fill:$h2}.h3{fill:$h3}.h4{fill:$h4}.h5{fill:$h5}.h6{fill:$h6}.h7{fill:$h7}.h8{fill:$h8}"
    ".h9{fill:$h9}"
    ".h10{fill:$h10}.h11{fill:$h11}.h12{fill:$h12}\n";

static const struct tone *tone_of(const char *name, size_t length)
{
    for (int i = 0; i < TONES; i++)
        if (strlen(tones[i].name) == length && !strncmp(tones[i].name, name, length))
            return &tones[i];
    return &tones[0];
}

enum { AS_VARIABLES, AS_LIGHT, AS_DARK };

static void add_colours(int as, struct text *out)
{
    for (const char *at = colours; *at;) {
        size_t plain = strcspn(at, "$"), length;
        text_append(out, at, plain);
        at += plain;
        if (!*at)
            return;
        length = strcspn(++at, "}");
        const struct tone *tone = tone_of(at, length);
        if (as == AS_VARIABLES)
            text_printf(out, "var(--%s)", tone->name);
        else
            text_add(out, as == AS_LIGHT ? tone->light : tone->dark);
        at += length;
    }
}

static void add_variables(int as, struct text *out)
{
    text_add(out, ".chart{");
    for (int i = 0; i < TONES; i++)
        text_printf(out, "--%s:%s;", tones[i].name, as == AS_LIGHT ? tones[i].light : tones[i].dark);
    text_add(out, "}\n");
}

void chart_style(int alone, struct text *out)
{
    text_add(out, layout);
    if (!alone)
        add_variables(AS_LIGHT, out);
    add_colours(alone ? AS_LIGHT : AS_VARIABLES, out);
    text_add(out, "@media screen and (prefers-color-scheme:dark){\n");
    if (alone)
        add_colours(AS_DARK, out);
    else
        add_variables(AS_DARK, out);
    text_add(out, "}\n");
}

const char report_page_style[] =
    ":root{color-scheme:light dark;--page:#f5f6f9;--card:#fff;--ink:#1d2129;--soft:#616775;--hair:#e0e3ea;--good:#0d7a55;"
    "--look:#b35c00;--bad:#c4261d;--good-back:#e6f5ee;--look-back:#fff3e0;--bad-back:#fdeae8;--link:#2463c4}\n"
    "@media screen and (prefers-color-scheme:dark){:root{--page:#13151a;--card:#1b1e25;--ink:#e8eaf0;--soft:#9ba1b0;"
    "--hair:#2c3039;--good:#5fd3a2;"
    "--look:#ffb25c;--bad:#ff8d84;--good-back:#142820;--look-back:#2d2313;--bad-back:#331a18;--link:#78aaf5}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,"
    "-apple-system,\"Segoe UI\",sans-serif}\n"
    "main{max-width:1440px;margin:0 auto;padding:20px 16px 48px}h1{font-size:22px;line-height:1.25;margin:0 0 2px;"
    "overflow-wrap:anywhere}"
    "h2{font-size:17px;margin:34px 0 10px}h3{font-size:15px;margin:0}p{margin:0}\n"
    ".soft{color:var(--soft)}.small{font-size:13px}a{color:var(--link)}\n"
    ".verdict{margin:14px 0;padding:14px 16px;border-radius:10px;border-left:6px solid;max-width:980px}"
    ".verdict h3{font-size:18px}.verdict ul{margin:8px 0 0;padding:0;list-style:none}.verdict li{margin:8px 0 0}\n"
    ".good{background:var(--good-back);border-color:var(--good)}.look{background:var(--look-back);border-color:var(--look)}"
    ".bad{background:var(--bad-back);border-color:var(--bad)}.good h3{color:var(--good)}.look h3{color:var(--look)}"
    ".bad h3{color:var(--bad)}\n"
    ".verdict li{padding-left:18px;position:relative}.verdict li::before{content:\"\";position:absolute;left:2px;top:8px;"
    "width:8px;height:8px;"
    "border-radius:4px;background:var(--soft)}li.level1::before{background:var(--look)!important}"
    "li.level2::before{background:var(--bad)!important}\n"
    ".try{display:block}.try b{font-weight:600}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:10px;margin:14px 0}"
    ".tile{background:var(--card);border:1px solid var(--hair);border-radius:10px;padding:10px 14px}"
    ".tile b{display:block;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);"
    "font-size:13px}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,390px),1fr));gap:14px}"
    ".card{background:var(--card);border:1px solid var(--hair);border-radius:10px;padding:14px 14px 10px;min-width:0;"
    "break-inside:avoid}"
    ".card p{font-size:13px;color:var(--soft);margin:2px 0 8px}.card svg{display:block;width:100%;height:auto;"
    "touch-action:pan-y}\n"
    ".wide{overflow-x:auto}.wide img{min-width:620px;max-width:780px;width:100%;display:block;border:1px solid var(--hair);"
    "border-radius:10px}\n"
    ".absent{margin:0;padding-left:20px}.absent li{margin:4px 0}\n"
    ".samples{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,390px),1fr));gap:14px}"
    ".samples pre{margin:6px 0 0;white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.45 ui-monospace,Consolas,"
    "monospace}\n"
    ".table{overflow-x:auto;background:var(--card);border:1px solid var(--hair);border-radius:10px;padding:4px 14px}"
    "table{border-collapse:collapse;font-size:14px}th,td{text-align:left;padding:5px 18px 5px 0;"
    "border-bottom:1px solid var(--hair);vertical-align:top}"
    "tr:last-child>*{border-bottom:0}th{font-weight:500;color:var(--soft)}td{overflow-wrap:anywhere;min-width:90px}"
    "td.differs{font-weight:600}\n"
    "#tip{position:fixed;z-index:9;pointer-events:none;background:var(--ink);color:var(--card);font-size:12.5px;"
    "line-height:1.4;padding:6px 9px;"
    "border-radius:6px;max-width:280px;display:none;font-variant-numeric:tabular-nums}#tip i{display:inline-block;width:9px;"
    "height:9px;"
    "border-radius:5px;margin-right:6px}footer{margin-top:34px}code{font:.92em ui-monospace,Consolas,monospace;"
    "white-space:nowrap}\n"
    ".cursor{stroke:var(--soft);fill:none;stroke-dasharray:3 2}.spot{fill:var(--card);stroke-width:2}\n"
    "@media screen and (max-width:520px){.chart .tick,.chart .name,.chart .rule-name,.chart .key{font-size:14px}"
    ".card{padding:12px 8px 8px}}\n"
    "@media print{:root{--page:#fff;--card:#fff;--ink:#000;--soft:#444;--hair:#ccc}main{max-width:none;padding:0}"
    ".cards{grid-template-columns:1fr 1fr}.verdict{-webkit-print-color-adjust:exact;print-color-adjust:exact}}\n";

/* `show` is also what a test asks for: #hover=ID,SHARE puts a pointer at that share of a picture's width; #width tells how
 * far the page reaches over the window. */
const char report_script[] =
    "(function(){'use strict';\n"
    "var tip=document.getElementById('tip'),ns='http://www.w3.org/2000/svg',held=null;\n"
    "function make(svg,name,set){var e=document.createElementNS(ns,name);for(var k in set)e.setAttribute(k,set[k]);"
    "svg.appendChild(e);return e}\n"
    "function points(path){if(path.points)return path.points;\n"
    " var xy=path.getAttribute('d').match(/[-\\d.]+ [-\\d.]+/g)||[],v=path.getAttribute('data-v').split(',');\n"
    " return path.points=xy.map(function(p,i){var a=p.split(' '),b=v[i].split(' ');return{x:+a[0],y:+a[1],at:+b[0],"
    "value:+b[1]}})}\n"
    "function nearest(list,x){var lo=0,hi=list.length-1;while(hi-lo>1){var m=(lo+hi)>>1;if(list[m].x<x)lo=m;else hi=m}\n"
    " return hi>=0&&Math.abs(list[hi].x-x)<Math.abs(list[lo].x-x)?list[hi]:list[lo]}\n"
    "function text(parent,name,words){var e=document.createElement(name);e.textContent=words;parent.appendChild(e);"
    "return e}\n"
    "function number(v){var a=Math.abs(v);return a&&(a<1e-3||a>=1e7)?v.toExponential(2):String(+v.toPrecision(4))}\n"
    "function clear(){if(held)held.querySelectorAll('.cursor,.spot').forEach(function(e){e.remove()});held=null;"
    "tip.style.display='none'}\n"
    "function place(px,py){tip.style.display='block';var w=tip.offsetWidth,h=tip.offsetHeight;\n"
    " tip.style.left=Math.max(4,Math.min(px+14,innerWidth-w-4))+'px';tip.style.top=(py-h-12<4?py+16:py-h-12)+'px'}\n"
    "function heat(svg,x,y){var o=svg.querySelector('.over');if(!o)return false;var b={};\n"
    " ['x','y','width','height'].forEach(function(k){b[k]=+o.getAttribute(k)});\n"
    " if(x<b.x||x>=b.x+b.width||y<=b.y||y>b.y+b.height)return false;\n"
    " var cs=o.getAttribute('data-columns').split(','),rs=o.getAttribute('data-rows').split(','),n=cs.length-1,"
    "m=rs.length-1;\n"
    " var c=Math.floor((x-b.x)/b.width*n),r=Math.min(m-1,Math.floor((b.y+b.height-y)/b.height*m)),"
    "v=o.getAttribute('data-values').split(',')[c*m+r];\n"
    " text(tip,'div','step '+cs[c]+', lag '+rs[r]);text(tip,'div',v===''?'not measured':number(Math.pow(10,"
    "+v))+' of lag 0');\n"
    " make(svg,'path',{'class':'cursor',d:'M'+x+' '+b.y+'v'+b.height+'M'+b.x+' '+y+'h'+b.width});return true}\n"
    "function lines(svg,x){var found=[];svg.querySelectorAll('path[data-v]').forEach(function(p){var l=points(p);"
    "if(l.length)found.push([p,nearest(l,x)])});\n"
    " if(!found.length)return false;\n"
    " var best=found.reduce(function(a,b){return Math.abs(b[1].x-x)<Math.abs(a[1].x-x)?b:a})[1];\n"
    " var label=svg.getAttribute('data-x')||'step';text(tip,'div',label+' '+number(best.at));\n"
    " make(svg,'path',{'class':'cursor',d:'M'+best.x+' 30V'+(svg.viewBox.baseVal.height-40)});\n"
    " found.forEach(function(f){var colour=getComputedStyle(f[0]).stroke,row=text(tip,'div','');\n"
    "  var dot=document.createElement('i');dot.style.background=colour;row.appendChild(dot);\n"
    "  row.appendChild(document.createTextNode((f[0].getAttribute('data-n')||'')+' '+number(f[1].value)));\n"
    "  make(svg,'circle',{'class':'spot',cx:f[1].x,cy:f[1].y,r:3.5,stroke:colour})});return true}\n"
    "function show(svg,px,py){clear();var box=svg.getBoundingClientRect(),scale=svg.viewBox.baseVal.width/box.width,"
    "x=(px-box.left)*scale,y=(py-box.top)*scale;\n"
    " tip.textContent='';held=svg;if(svg.classList.contains('heat')?heat(svg,x,y):lines(svg,x))place(px,py);else clear()}\n"
    "document.querySelectorAll('svg.chart').forEach(function(svg){\n"
    " svg.addEventListener('pointermove',function(e){show(svg,e.clientX,e.clientY)});\n"
    " svg.addEventListener('pointerdown',function(e){show(svg,e.clientX,e.clientY)});\n"
    " svg.addEventListener('pointerleave',clear)});\n"
    "addEventListener('scroll',clear,{passive:true});\n"
    "var asked=/^#hover=([\\w.-]+),([\\d.]+)/.exec(location.hash);\n"
    "if(asked){var svg=document.getElementById(asked[1]);if(svg){svg.scrollIntoView({block:'center'});"
    "setTimeout(function(){\n"
    " var box=svg.getBoundingClientRect();\n"
    " svg.dispatchEvent(new PointerEvent('pointermove',{clientX:box.left+box.width*asked[2],clientY:box.top+box.height/2}))}"
    ",300)}}\n"
    "if(location.hash==='#width')document.body.setAttribute('data-overflow',Math.max(0,"
    "document.documentElement.scrollWidth-innerWidth));\n"
    "})();\n";
